//! Why no machine can be made of the options.
//!
//! Input: what was found on the host. Output: [`OptionsError`]. Not here: mistakes of a syntax; there is
//! none.

use std::io;
use std::path::PathBuf;

use provium_base::initramfs::ArchiveError;

/// An option that cannot be had on this host.
#[derive(Debug, thiserror::Error)]
pub enum OptionsError {
    /// A file of the host for the guest cannot be read.
    #[error("{}: {error}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// A file of the host for the guest is not there.
    #[error("{}: no such file on the host", .0.display())]
    NoFile(PathBuf),
    /// A file of the host for the guest is a folder or a device.
    #[error("{} is not a file", .0.display())]
    NotAFile(PathBuf),
    /// A file for the guest fits no archive.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    /// A disk's image is of a format that the monitor does not read.
    #[error(
        "disk `{id}`: {0} is a {format} image, and only raw ones are supported; convert it: qemu-img convert -O raw \
         {0} {0}.raw",
        path.display()
    )]
    ForeignImage {
        /// The disk.
        id: String,
        /// Its image.
        path: PathBuf,
        /// The format.
        format: &'static str,
    },
    /// A disk has the name that the root disk has.
    #[error("disk `{0}` is the profile's `rootfs`")]
    RootfsTaken(String),
    /// No disk image can be made for the root file system.
    #[error("{0}")]
    Rootfs(String),
}
