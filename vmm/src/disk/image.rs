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
use crate::host_file;

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
        let opened = host_file::open_with(File::options().read(true).write(writable), path);
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

/// A format, other than raw, that an image begins or ends like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ForeignFormat {
    /// Name of the format: `qcow2`.
    pub name: &'static str,
    /// Command that makes a raw image of it, up to the image's path.
    pub command: &'static str,
}

impl ForeignFormat {
    /// The command that makes a raw image of the one at `path`.
    pub fn conversion(&self, path: &Path) -> String {
        let (command, path) = (self.command, path.display());
        match command.starts_with("qemu-img") {
            true => format!("{command} {path} {path}.raw"),
            false => format!("{command} {path}"),
        }
    }
}

/// Command for what qemu-img reads.
const CONVERT: &str = "qemu-img convert -O raw";
/// Where a signature stands, the signature, the format, the command.
const SIGNATURES: [(usize, &[u8], &str, &str); 11] = [
    (0, b"QFI\xfb", "qcow2", CONVERT),
    (0, b"KDMV", "vmdk", CONVERT),
    (0, b"# Disk Descriptor", "vmdk", CONVERT),
    (0, b"conectix", "vhd", CONVERT),
    (0, b"vhdxfile", "vhdx", CONVERT),
    (64, b"\x7f\x10\xda\xbe", "vdi", CONVERT),
    (0, b"\x1f\x8b\x08", "gzip", "gzip -dk"),
    (0, b"\xfd7zXZ\0", "xz", "xz -dk"),
    (0, b"\x28\xb5\x2f\xfd", "zstd", "zstd -dk"),
    (0, b"BZh", "bzip2", "bzip2 -dk"),
    (0, b"\x04\x22\x4d\x18", "lz4", "lz4 -dk"),
];
/// Bytes at the end of a VHD of fixed size, the only place where it says so.
const VHD_FOOTER: u64 = 512;

/// The format, other than raw, of the regular file at `path`; `None` for raw and for what is no regular file.
///
/// # Errors
/// When it cannot be read.
pub fn foreign_format(path: &Path) -> io::Result<Option<ForeignFormat>> {
    let file = host_file::open(path)?;
    let len = file.metadata()?.len();
    let mut start = Vec::new();
    (&file).take(128).read_to_end(&mut start)?;
    let is = |at: usize, signature: &[u8]| start.get(at..).is_some_and(|rest| rest.starts_with(signature));
    let found = SIGNATURES
        .into_iter()
        .find(|(at, signature, ..)| is(*at, signature));
    if let Some((_, _, name, command)) = found {
        return Ok(Some(ForeignFormat { name, command }));
    }
    let mut footer = [0; 8];
    if let Some(at) = len.checked_sub(VHD_FOOTER) {
        file.read_exact_at(&mut footer, at)?;
    }
    Ok((&footer == b"conectix").then_some(ForeignFormat {
        name: "vhd",
        command: CONVERT,
    }))
}
