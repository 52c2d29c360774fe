//! Files on the disk: the space they take, and that they are written.
//!
//! Input: paths. Output: bytes, or a successful sync. Not here: which files belong to the cache.

use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use walkdir::WalkDir;

/// Bytes that the files at and below `path` take on the disk; holes take none. Files that cannot be read
/// count as 0.
pub(crate) fn allocated(path: &Path) -> u64 {
    let files = WalkDir::new(path).into_iter().flatten();
    files
        .filter_map(|file| file.metadata().ok())
        .map(|metadata| metadata.blocks() * 512)
        .sum()
}

/// Waits until a file, or the names in a folder, are on the disk.
///
/// # Errors
/// The system's, when it cannot be opened or written.
pub(crate) fn sync(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}
