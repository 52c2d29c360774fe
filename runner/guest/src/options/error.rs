//! Why no machine can be made of the options.
//!
//! Input: what was found on the host. Output: [`OptionsError`]. Not here: mistakes of a syntax; there is
//! none.

use std::io;
use std::path::PathBuf;

use provium_base::cause::Cause;
use provium_base::initramfs::ArchiveError;
use provium_vmm::disk::ForeignFormat;

use crate::vm::disks::ROOTFS_DISK;

/// An option that cannot be had on this host.
#[derive(Debug, thiserror::Error)]
pub enum OptionsError {
    /// A file of the host for the guest cannot be read.
    #[error("{}: {}", path.display(), Cause(error))]
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
    /// A module of the kernel cannot be had.
    #[error(transparent)]
    Modules(provium_base::modules::ModuleError),
    /// A quote in the command line has no other end.
    #[error(
        "the kernel command line has a quote that is not closed, which makes one word of all that follows it: {0}"
    )]
    OpenQuote(String),
    /// A word of the command line takes away the interrupts of all devices.
    #[error(
        "`{0}` on the kernel command line switches off the interrupt controllers that a guest with ACPI has, and there \
         is no other; put `acpi=off` beside it (the kernel needs CONFIG_VIRTIO_MMIO_CMDLINE_DEVICES), or for one \
         processor `maxcpus=1` in its place"
    )]
    NoInterrupts(String),
    /// A word of the command line takes away the clock.
    #[error(
        "`no-kvmclock` on the kernel command line switches off the only clock whose frequency a kernel learns here: \
         a guest has no PIT, HPET or PM timer to measure others by; for the TSC as clock write `clocksource=tsc` in its place"
    )]
    NoClock,
    /// A disk's image is of a format that the monitor does not read.
    #[error(
        "disk `{id}`: {} is in the format {}, and only raw images are supported; convert it: {}{}",
        path.display(),
        format.name,
        format.conversion(path),
        if id == ROOTFS_DISK { "" } else { " (if it is raw all the same, write format = \"raw\")" }
    )]
    ForeignImage {
        /// The disk.
        id: String,
        /// Its image.
        path: PathBuf,
        /// The format.
        format: ForeignFormat,
    },
    /// A disk has the name that the root disk has.
    #[error("disk `{0}` is the profile's `rootfs`")]
    RootfsTaken(String),
    /// No disk image can be made for the root file system.
    #[error("{0}")]
    Rootfs(String),
}
