//! Why a snapshot cannot be written or used.
//!
//! Input: what goes wrong with its files, its disks, its host. Output: one error, with the folder and what
//! was found. Not here: errors of the machine that is saved or loaded (`machine/error.rs`).

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
        /// What the system said.
        source: io::Error,
    },
    /// A file is not what was written.
    #[error("the snapshot in {} is damaged: {what}", folder.display())]
    Damaged {
        /// The snapshot's folder.
        folder: PathBuf,
        /// What is wrong with which file.
        what: String,
    },
    /// It was written by another version of Provium.
    #[error("the snapshot in {} has format {found}, and this is {FORMAT_VERSION}", folder.display())]
    Version {
        /// The snapshot's folder.
        folder: PathBuf,
        /// The version found in its state.
        found: u32,
    },
    /// It was made on another kind of host.
    #[error("the snapshot in {} was made on {made_on}, and this host is {this}", folder.display())]
    Host {
        /// The snapshot's folder.
        folder: PathBuf,
        /// The host it was made on.
        made_on: Box<HostModel>,
        /// This host.
        this: Box<HostModel>,
    },
    /// The image below one of its disks is not what it was.
    #[error("the snapshot in {} cannot be used: image of disk `{disk}`: {}: {why}", folder.display(), image.display())]
    DiskImage {
        /// The snapshot's folder.
        folder: PathBuf,
        /// The disk's name.
        disk: String,
        /// The image.
        image: PathBuf,
        /// What became of it.
        why: String,
    },
    /// Its parent is gone or has been replaced.
    #[error("the snapshot in {} cannot be used without its parent: {why}", folder.display())]
    Parent {
        /// The snapshot's folder.
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
