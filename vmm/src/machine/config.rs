//! What a machine is made of: a plain description, checked before anything is created.
//!
//! Input: numbers, paths, disks. Output: the same, checked, and the command line as the guest gets it. Not
//! here: whether the files are there, which shows when they are loaded; the limits themselves (`limits`).

use std::path::PathBuf;
use std::sync::Arc;

use crate::cmdline::CommandLine;
use crate::disk::Disk;
use crate::limits::{self, LimitError};
use crate::share::SharedFolder;
use crate::slots::DeviceSlot;

/// The description of a machine.
#[derive(Debug, Clone)]
pub struct MachineConfig {
    /// The kernel's file: a bzImage or an ELF vmlinux.
    pub kernel: PathBuf,
    /// A cpio archive (newc), placed before the user's initrd in memory, which may replace what it has; may
    /// be empty.
    pub early_initrd: Vec<u8>,
    /// The file of the user's initrd, loaded as it is.
    pub initrd: Option<PathBuf>,
    /// Further cpio archives (newc), placed behind the user's initrd in memory in this order; machines may
    /// share them.
    pub extra_initrds: Vec<Arc<[u8]>>,
    /// The kernel command line; the monitor adds what its devices need.
    pub cmdline: String,
    /// Bytes of RAM, [`MIN_MEMORY`](limits::MIN_MEMORY) to [`MAX_MEMORY`](limits::MAX_MEMORY), in whole
    /// pages.
    pub memory: u64,
    /// The number of vCPUs, 1 to [`MAX_CPUS`](limits::MAX_CPUS).
    pub cpus: u8,
    /// Seed of the virtio-rng device; `None` for the host's entropy.
    pub rng_seed: Option<u64>,
    /// How the guest finds its virtio devices.
    pub discovery: Discovery,
    /// The disks, in the order of their slots; a disk outlives the machine.
    pub disks: Vec<Arc<Disk>>,
    /// The folders of the host that the guest may mount, in the order of their numbers.
    pub shares: Vec<SharedFolder>,
}

/// How the guest finds its virtio devices.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Discovery {
    /// ACPI tables, unless the command line has `acpi=off`.
    #[default]
    Auto,
    /// ACPI tables.
    Acpi,
    /// An MP table and `virtio_mmio.device=` on the command line, for kernels without ACPI.
    CommandLine,
}

impl MachineConfig {
    /// Checks the numbers against the limits.
    pub(crate) fn check(&self) -> Result<(), LimitError> {
        limits::check_cpus(self.cpus)?;
        limits::check_memory(self.memory)?;
        limits::check_disks(self.disks.len())
    }

    /// Whether the guest reads ACPI tables.
    pub(crate) fn uses_acpi(&self) -> bool {
        match self.discovery {
            Discovery::Acpi => true,
            Discovery::CommandLine => false,
            Discovery::Auto => !CommandLine::parse(&self.cmdline).has("acpi", "off"),
        }
    }

    /// The command line as the guest gets it: the user's, with an argument for each device where there are no
    /// ACPI tables to name it.
    pub(crate) fn whole_cmdline(&self, devices: &[DeviceSlot]) -> String {
        if self.uses_acpi() {
            return self.cmdline.clone();
        }
        let mut line = CommandLine::parse(&self.cmdline);
        devices
            .iter()
            .for_each(|device| line.push(device.kernel_argument()));
        line.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::slots::TABLE;

    fn config() -> MachineConfig {
        MachineConfig {
            kernel: PathBuf::new(),
            initrd: None,
            early_initrd: Vec::new(),
            extra_initrds: Vec::new(),
            cmdline: "quiet".to_owned(),
            memory: 128 << 20,
            cpus: 1,
            rng_seed: None,
            discovery: Discovery::Auto,
            disks: Vec::new(),
            shares: Vec::new(),
        }
    }

    #[test]
    fn without_acpi_devices_are_named_on_the_command_line() {
        let devices = &TABLE[..2];
        assert_eq!(config().whole_cmdline(devices), "quiet");
        let off = MachineConfig {
            cmdline: "acpi=off quiet -- init args".to_owned(),
            ..config()
        };
        assert_eq!(
            off.whole_cmdline(devices),
            "acpi=off quiet virtio_mmio.device=4K@0xd0000000:5 virtio_mmio.device=4K@0xd0001000:6 -- init args"
        );
    }
    #[test]
    fn quotes_and_dashes_of_the_command_line_are_the_kernels() {
        let with = |cmdline: &str| MachineConfig {
            cmdline: cmdline.to_owned(),
            ..config()
        };
        for (cmdline, uses_acpi) in [
            ("quiet", true),
            ("acpi=off", false),
            ("\"acpi=off\"", false),
            ("acpi=\"off\"", false),
            ("-- acpi=off", true),
            ("a=\"x acpi=off y\"", true),
        ] {
            assert_eq!(with(cmdline).uses_acpi(), uses_acpi, "{cmdline}");
        }
        assert_eq!(
            with("acpi=off a=\"x -- y\"").whole_cmdline(&TABLE[..1]),
            "acpi=off a=\"x -- y\" virtio_mmio.device=4K@0xd0000000:5"
        );
    }
}
