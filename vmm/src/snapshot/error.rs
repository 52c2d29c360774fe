//! Why a snapshot cannot be written or used.

use std::io;
use std::path::PathBuf;

use super::files::FORMAT_VERSION;
use crate::disk::SavedDiskError;
use crate::kvm::host::HostModel;
use crate::layer::LayerError;

/// Why a snapshot cannot be written or used.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// A file cannot be read or written.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The files are not what was written.
    #[error("the snapshot in {} is damaged: {what}", folder.display())]
    Damaged {
        /// Where it is.
        folder: PathBuf,
        /// What is wrong.
        what: String,
    },
    /// It was written by another version of Provium.
    #[error("the snapshot in {} has format {found}, and this is {FORMAT_VERSION}", folder.display())]
    Version {
        /// Where it is.
        folder: PathBuf,
        /// Its version.
        found: u32,
    },
    /// It was made on another kind of host.
    #[error("the snapshot in {} was made on {made_on}, and this host is {this}", folder.display())]
    Host {
        /// Where it is.
        folder: PathBuf,
        /// Its host.
        made_on: Box<HostModel>,
        /// This one.
        this: Box<HostModel>,
    },
    /// The image below one of its disks is not what it was.
    #[error("the snapshot in {} cannot be used: image of disk `{disk}`: {}: {why}", folder.display(), image.display())]
    DiskImage {
        /// Where it is.
        folder: PathBuf,
        /// The disk.
        disk: String,
        /// The image.
        image: PathBuf,
        /// What became of it.
        why: String,
    },
    /// Its parent is gone or has been replaced.
    #[error("the snapshot in {} cannot be used without its parent: {why}", folder.display())]
    Parent {
        /// Where it is.
        folder: PathBuf,
        /// What became of the parent.
        why: String,
    },
}

impl From<LayerError> for SnapshotError {
    fn from(error: LayerError) -> Self {
        match error {
            LayerError::Io { path, source } => SnapshotError::Io { path, source },
            LayerError::Damaged { folder, what } => SnapshotError::Damaged { folder, what },
        }
    }
}

impl From<SavedDiskError> for SnapshotError {
    fn from(error: SavedDiskError) -> Self {
        match error {
            SavedDiskError::Layer(error) => error.into(),
            SavedDiskError::Image {
                folder,
                disk,
                image,
                why,
            } => SnapshotError::DiskImage {
                folder,
                disk,
                image,
                why,
            },
        }
    }
}
