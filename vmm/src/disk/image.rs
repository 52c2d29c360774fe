//! An image file below a disk, and whether it still is the one it was.
//!
//! Input: a path. Output: an open file with its [`ImageStamp`]; the name of a format that is not raw. Not
//! here: a digest of its content, which whoever saves has.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::error::DiskError;

/// Size and time of last change of a file: what tells, without reading it, that it is as it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageStamp {
    /// Bytes of the file.
    pub len: u64,
    /// Time of its last change, in nanoseconds since 1970.
    pub modified_ns: i64,
}

/// An open image file.
#[derive(Debug)]
pub(crate) struct ImageFile {
    pub(crate) path: PathBuf,
    file: File,
    pub(crate) stamp: ImageStamp,
}

impl ImageStamp {
    /// The stamp of the file at `path` as it is now.
    ///
    /// # Errors
    /// When it cannot be looked at.
    pub fn of(path: &Path) -> io::Result<ImageStamp> {
        Ok(Self::read(&std::fs::metadata(path)?))
    }

    fn read(metadata: &std::fs::Metadata) -> ImageStamp {
        ImageStamp {
            len: metadata.len(),
            modified_ns: metadata
                .mtime()
                .wrapping_mul(1_000_000_000)
                .wrapping_add(metadata.mtime_nsec()),
        }
    }
}

impl ImageFile {
    /// Opens the file, for writing too if `writable`.
    pub(crate) fn open(path: &Path, writable: bool) -> Result<ImageFile, DiskError> {
        let failed = |why: String| DiskError::Image {
            path: path.to_owned(),
            why,
        };
        // Looked at first: opening a pipe would wait for its other end.
        let metadata = std::fs::metadata(path).map_err(|error| failed(error.to_string()))?;
        if !metadata.is_file() {
            return Err(failed("it is not a regular file".to_owned()));
        }
        let opened = File::options().read(true).write(writable).open(path);
        let file = opened.map_err(|error| failed(error.to_string()))?;
        let metadata = file.metadata().map_err(|error| failed(error.to_string()))?;
        if metadata.len() == 0 {
            return Err(failed("it is empty".to_owned()));
        }
        Ok(ImageFile {
            path: path.to_owned(),
            stamp: ImageStamp::read(&metadata),
            file,
        })
    }

    /// The stamp of the open file as it is now.
    pub(crate) fn stamp_now(&self) -> io::Result<ImageStamp> {
        Ok(ImageStamp::read(&self.file.metadata()?))
    }

    /// Reads from byte `at` on; zeros follow the file's end.
    pub(crate) fn read(&self, at: u64, data: &mut [u8]) -> io::Result<()> {
        let there = self.stamp.len.saturating_sub(at).min(data.len() as u64) as usize;
        let (file, beyond) = data.split_at_mut(there);
        beyond.fill(0);
        self.file.read_exact_at(file, at)
    }

    /// Writes from byte `at` on.
    pub(crate) fn write(&self, at: u64, data: &[u8]) -> io::Result<()> {
        self.file.write_all_at(data, at)
    }

    /// Writes what was written through to the host's disk.
    pub(crate) fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }
}

/// The name of the image format, other than raw, that the file at `path` begins like; `None` for raw.
///
/// # Errors
/// When it cannot be read.
pub fn foreign_format(path: &Path) -> io::Result<Option<&'static str>> {
    let mut start = Vec::new();
    File::open(path)?.take(8).read_to_end(&mut start)?;
    let known: [(&[u8], &str); 4] = [
        (b"QFI\xfb", "qcow2"),
        (b"KDMV", "vmdk"),
        (b"conectix", "vhd"),
        (b"vhdxfile", "vhdx"),
    ];
    let found = known.into_iter().find(|(magic, _)| start.starts_with(magic));
    Ok(found.map(|(_, name)| name))
}
