//! Disks as options describe them.
//!
//! Input: a [`DiskOption`]. Output: the monitor's [`DiskSpec`]. Not here: the disks of a VM, which are
//! `vm::disks`.

use std::path::{Path, PathBuf};

use provium_vmm::disk::{DiskSpec, foreign_format};
use serde::{Deserialize, Serialize};

use super::error::OptionsError;

/// A disk of a VM. The order of the fields is that of their names, in which fixtures hold them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DiskOption {
    /// Its name, which the guest sees as its serial number.
    pub id: String,
    /// A raw image, absolute or below the project's folder; scratch without.
    pub image: Option<PathBuf>,
    /// The image is raw, whatever it begins like. Fixtures from before the option lack it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub raw: bool,
    /// The guest cannot write.
    pub readonly: bool,
    /// Bytes; the image's without.
    pub size: Option<u64>,
    /// Writes go into the image itself.
    pub writable: bool,
}

impl DiskOption {
    /// The disk's description; relative paths are `folder`'s. Its image is looked at.
    ///
    /// # Errors
    /// [`OptionsError::ForeignImage`].
    pub fn spec(&self, folder: &Path) -> Result<DiskSpec, OptionsError> {
        let image = self.image.as_ref().map(|path| folder.join(path));
        if let Some(path) = image.as_ref().filter(|_| !self.raw) {
            check_raw(&self.id, path)?;
        }
        Ok(DiskSpec {
            id: self.id.clone(),
            image,
            size: self.size,
            readonly: self.readonly,
            writable: self.writable,
        })
    }
}

/// Refuses an image that is not raw.
///
/// # Errors
/// [`OptionsError::ForeignImage`].
pub(super) fn check_raw(id: &str, path: &Path) -> Result<(), OptionsError> {
    // What cannot be read is said by whoever opens it.
    match foreign_format(path) {
        Ok(Some(format)) => Err(OptionsError::ForeignImage {
            id: id.to_owned(),
            path: path.to_owned(),
            format,
        }),
        _ => Ok(()),
    }
}
