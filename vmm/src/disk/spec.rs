//! What a disk is made of, and which of that can be.
//!
//! Input: a [`DiskSpec`]. Output: its size, or a [`DiskError`] in words. Not here: opening the image
//! (`image`).

use std::path::PathBuf;

use provium_devices::virtio::block::{ID_BYTES, SECTOR};

use super::error::DiskError;

/// Most bytes of a disk.
pub const MAX_DISK: u64 = 8 << 40;

/// What a disk is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DiskSpec {
    /// The name, which the guest sees as serial number: 1 to 20 letters, digits, dots, dashes and
    /// underscores.
    pub id: String,
    /// A raw image to begin with; `None` for zeros.
    pub image: Option<PathBuf>,
    /// Bytes of the disk; `None` for the image's size, which is also the least.
    pub size: Option<u64>,
    /// Whether the guest cannot write.
    pub readonly: bool,
    /// Whether writes go into the image itself.
    pub writable: bool,
}

impl DiskSpec {
    /// Checks the disk's name.
    pub(super) fn check_id(&self) -> Result<(), DiskError> {
        let fits = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
        match (1..=ID_BYTES).contains(&self.id.len()) && self.id.chars().all(fits) {
            true => Ok(()),
            false => Err(DiskError::Id(self.id.clone())),
        }
    }

    /// The bytes of the disk, on an image of `image` bytes if there is one.
    pub(super) fn size_on(&self, image: Option<u64>) -> Result<u64, DiskError> {
        size_of(self, image).map_err(|why| DiskError::Size {
            id: self.id.clone(),
            why,
        })
    }
}

/// The bytes of a disk on an image of `image` bytes, or what is wrong with its size.
fn size_of(spec: &DiskSpec, image: Option<u64>) -> Result<u64, String> {
    let size = match (spec.size, image) {
        (None, None) => return Err("it needs an image or a size".to_owned()),
        (Some(size), Some(image)) if size < image => {
            return Err(format!("{size} bytes are less than its image has, {image}"));
        }
        (Some(size), Some(image)) if spec.writable && size != image => {
            return Err("an image that is written keeps its own size".to_owned());
        }
        (None, Some(image)) if !spec.writable => image.next_multiple_of(SECTOR),
        (Some(size), _) | (None, Some(size)) => size,
    };
    match size {
        0 => Err("0 bytes are no disk".to_owned()),
        size if size > MAX_DISK => Err(format!(
            "{size} bytes are more than {MAX_DISK}, the most there is"
        )),
        size if !size.is_multiple_of(SECTOR) => {
            Err(format!("{size} bytes are not whole sectors of {SECTOR}"))
        }
        size => Ok(size),
    }
}
