//! What goes wrong with the files of a snapshot.
//!
//! Input: errors of the system, contents that are not what was written. Output: a [`LayerError`] that names
//! the file. Not here: what that means for a disk or a snapshot.

use std::io;
use std::path::{Path, PathBuf};

/// Why a file of a snapshot cannot be written or used.
#[derive(Debug, thiserror::Error)]
pub enum LayerError {
    /// The file cannot be read or written.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The file is not what was written.
    #[error("the snapshot in {} is damaged: {what}", folder.display())]
    Damaged {
        /// The folder of the snapshot.
        folder: PathBuf,
        /// What is wrong with which file.
        what: String,
    },
}

/// Adds the file's path to an error of the system.
pub(crate) fn io_error(path: &Path) -> impl FnOnce(io::Error) -> LayerError {
    let path = path.to_owned();
    move |source| LayerError::Io { path, source }
}
