//! What goes wrong with disks.

use std::io;
use std::path::PathBuf;

use crate::layer::LayerError;

/// Why there is no such disk, or why it did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum DiskError {
    /// The name does not fit into the place that virtio has for it.
    #[error("`{0}` is no name of a disk: it takes 1 to 20 letters, digits, dots, dashes and underscores")]
    Id(String),
    /// The image cannot be used.
    #[error("disk image {}: {why}", path.display())]
    Image {
        /// The file.
        path: PathBuf,
        /// Why.
        why: String,
    },
    /// The size is impossible.
    #[error("disk `{id}`: {why}")]
    Size {
        /// The disk.
        id: String,
        /// Why.
        why: String,
    },
    /// Sectors that it does not have.
    #[error("disk `{id}` has {sectors} sectors; {wanted} sectors from sector {from} on are beyond its end")]
    Beyond {
        /// The disk.
        id: String,
        /// As many as it has.
        sectors: u64,
        /// The first wanted.
        from: u64,
        /// How many were wanted.
        wanted: u64,
    },
    /// It cannot be written.
    #[error("disk `{0}` is read-only")]
    ReadOnly(String),
    /// The host cannot keep its bytes.
    #[error("disk `{id}`: {source}")]
    Io {
        /// The disk.
        id: String,
        /// Why.
        source: io::Error,
    },
}

/// Why a disk cannot be saved, or made of what a snapshot has of it.
#[derive(Debug, thiserror::Error)]
pub enum SavedDiskError {
    /// One of its files cannot be written or used.
    #[error(transparent)]
    Layer(#[from] LayerError),
    /// The image below it is not what it was.
    #[error("image of disk `{disk}`: {}: {why}", image.display())]
    Image {
        /// The folder of the snapshot.
        folder: PathBuf,
        /// The disk's name.
        disk: String,
        /// The image.
        image: PathBuf,
        /// What became of it.
        why: String,
    },
}
