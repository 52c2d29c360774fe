//! What the host keeps for guests beyond one VM.
//!
//! Input: paths and snapshots. Output: machines, images, digests. Not here: a cache; whoever has one
//! implements [`HostStore`] for it, and a [`WarmPool`] is the store of whoever has none.

use std::io;
use std::path::{Path, PathBuf};

use provium_vmm::disk::ImageDigest;
use provium_vmm::snapshot::Snapshot;

use crate::start::warm_pool::WarmPool;

/// What VMs use of the host.
pub trait HostStore {
    /// The machines that are made ahead.
    fn pool(&self) -> &WarmPool;

    /// The folder that relative paths of disk images are in.
    fn folder(&self) -> &Path;

    /// The disk image of a root file system, which may be a folder.
    ///
    /// # Errors
    /// When there is none and none can be made; the message is for the user.
    fn rootfs_image(&self, path: &Path) -> Result<PathBuf, String>;

    /// The folder in which what goes with the run is made: baselines, snapshots without a path.
    ///
    /// # Errors
    /// When there is none and none can be made; the message is for the user.
    fn temporary(&self) -> Result<PathBuf, String>;

    /// The digest of a disk image's content.
    ///
    /// # Errors
    /// When there is none; a snapshot is good then for as long as nobody touches the image.
    fn image_digest(&self, path: &Path) -> io::Result<ImageDigest>;

    /// Whether a snapshot stays where it is, so that others may be saved on top of it.
    fn keeps(&self, snapshot: &Snapshot) -> bool;
}

/// The store of a program without a cache: images are files, and no snapshot is sure to stay.
impl HostStore for WarmPool {
    fn pool(&self) -> &WarmPool {
        self
    }

    fn folder(&self) -> &Path {
        Path::new("")
    }

    fn rootfs_image(&self, path: &Path) -> Result<PathBuf, String> {
        match path.is_file() {
            true => Ok(path.to_owned()),
            false => Err(format!(
                "{}: a root file system is a disk image here, and this is no file",
                path.display()
            )),
        }
    }

    fn temporary(&self) -> Result<PathBuf, String> {
        Ok(std::env::temp_dir())
    }

    fn image_digest(&self, path: &Path) -> io::Result<ImageDigest> {
        let what = format!("{}: nobody keeps digests of images", path.display());
        Err(io::Error::new(io::ErrorKind::Unsupported, what))
    }

    fn keeps(&self, _: &Snapshot) -> bool {
        false
    }
}
