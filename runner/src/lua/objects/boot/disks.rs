//! Disks as options describe them.
//!
//! Input: paths as the test wrote them. Output: the monitor's [`DiskSpec`]. Not here: the Lua tables they are
//! written in, and the disks themselves.

use std::path::{Path, PathBuf};

use provium_vmm::disk::{DiskSpec, foreign_format};
use serde::{Deserialize, Serialize};

/// A disk as options describe it; paths are as the test wrote them.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct DiskOption {
    /// Name of the disk.
    pub(crate) id: String,
    /// Image of the host, if it is one.
    pub(crate) image: Option<PathBuf>,
    /// Size in bytes; the image's when absent, which is also the least.
    pub(crate) size: Option<u64>,
    /// Whether the guest cannot write it.
    pub(crate) readonly: bool,
    /// Whether what the guest writes goes into the image.
    pub(crate) writable: bool,
}

impl DiskOption {
    /// The disk's description; relative paths are `project`'s. Its image is looked at.
    pub(crate) fn spec(&self, project: &Path) -> Result<DiskSpec, String> {
        let image = self.image.as_ref().map(|path| project.join(path));
        if let Some(path) = &image
            && let Ok(Some(format)) = foreign_format(path)
        {
            return Err(format!(
                "disk `{}`: {} is a {format} image, and only raw ones are supported; convert it: qemu-img convert -O \
                 raw {0} {0}.raw",
                self.id,
                path.display()
            ));
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
