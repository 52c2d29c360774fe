//! What goes wrong with disks.
//!
//! Input: specs that cannot be, accesses that cannot be, errors of the host. Output: an error that names the
//! disk. Not here: errors that a guest sees, which are a status byte.

use std::io;
use std::path::PathBuf;

use crate::layer::LayerError;

/// Why a disk cannot be made, or did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum DiskError {
    /// The name does not fit into the 20 bytes that virtio has for it.
    #[error("`{0}` is no name of a disk: it takes 1 to 20 letters, digits, dots, dashes and underscores")]
    Id(String),
    /// The image cannot be used.
    #[error("disk image {}: {why}", path.display())]
    Image {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// The size is impossible.
    #[error("disk `{id}`: {why}")]
    Size {
        /// The disk's name.
        id: String,
        /// What is wrong with it.
        why: String,
    },
    /// Sectors beyond its end were asked for.
    #[error("disk `{id}` has {sectors} sectors; {wanted} sectors from sector {from} on are beyond its end")]
    Beyond {
        /// The disk's name.
        id: String,
        /// Number of its sectors.
        sectors: u64,
        /// The first sector asked for.
        from: u64,
        /// Number of sectors asked for.
        wanted: u64,
    },
    /// The disk is read-only; the text is its name.
    #[error("disk `{0}` is read-only")]
    ReadOnly(String),
    /// The host cannot read or write its bytes.
    #[error("disk `{id}`: {source}")]
    Io {
        /// The disk's name.
        id: String,
        /// What the system said.
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
