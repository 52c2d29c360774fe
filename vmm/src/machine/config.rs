//! What a machine is made of: a plain description, checked before anything is created.

use std::path::PathBuf;
use std::sync::Arc;

use super::disks::DISK_SLOTS;
use crate::boot;
use crate::disk::Disk;

/// Least memory of a guest, in bytes.
pub const MIN_MEMORY: u64 = 64 << 20;
/// Least memory of a machine that is only ever given a snapshot, such as a payload of a few instructions.
pub(crate) const MIN_SHELL_MEMORY: u64 = 2 << 20;
/// Most memory of a guest, in bytes.
pub const MAX_MEMORY: u64 = 8 << 30;
/// Most vCPUs of a guest.
pub const MAX_CPUS: u8 = 8;

/// Everything a machine is made of.
#[derive(Debug, Clone)]
pub struct MachineConfig {
    /// bzImage or ELF vmlinux.
    pub kernel: PathBuf,
    /// The user's initrd, loaded as it is.
    pub initrd: Option<PathBuf>,
    /// Another cpio archive (newc), placed behind the user's initrd in memory.
    pub extra_initrd: Vec<u8>,
    /// Kernel command line; the monitor appends what its devices need.
    pub cmdline: String,
    /// Bytes of RAM, [`MIN_MEMORY`] to [`MAX_MEMORY`], a multiple of 4096.
    pub memory: u64,
    /// Number of vCPUs, 1 to [`MAX_CPUS`].
    pub cpus: u8,
    /// Seed of the virtio-rng device; the host's entropy when absent.
    pub rng_seed: Option<u64>,
    /// How the guest finds its devices.
    pub discovery: Discovery,
    /// Disks, in the order of their slots; a disk lives longer than the machine.
    pub disks: Vec<Arc<Disk>>,
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

/// Why a machine cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The number of vCPUs is out of range.
    #[error("{0} vCPUs: a machine has 1 to {MAX_CPUS}")]
    Cpus(u8),
    /// The memory is out of range.
    #[error("{0} bytes of memory: a machine has 64 MiB to 8 GiB, in whole pages of 4096 bytes")]
    Memory(u64),
    /// There are too many disks.
    #[error("{0} disks: a machine has {DISK_SLOTS} at most")]
    Disks(usize),
}

impl MachineConfig {
    /// Checks the plain numbers; files are looked at when they are loaded.
    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        if !(1..=MAX_CPUS).contains(&self.cpus) {
            return Err(ConfigError::Cpus(self.cpus));
        }
        if !(MIN_MEMORY..=MAX_MEMORY).contains(&self.memory) || !self.memory.is_multiple_of(4096) {
            return Err(ConfigError::Memory(self.memory));
        }
        if self.disks.len() > usize::from(DISK_SLOTS) {
            return Err(ConfigError::Disks(self.disks.len()));
        }
        Ok(())
    }

    /// Whether the guest reads ACPI tables.
    pub(crate) fn uses_acpi(&self) -> bool {
        match self.discovery {
            Discovery::Acpi => true,
            Discovery::CommandLine => false,
            Discovery::Auto => !self
                .cmdline
                .split_ascii_whitespace()
                .any(|word| word == "acpi=off"),
        }
    }

    /// The whole command line. What the monitor adds goes before a `--`, behind which the kernel reads
    /// nothing more.
    pub(crate) fn whole_cmdline(&self, devices: &[boot::MmioDevice]) -> String {
        if self.uses_acpi() {
            return self.cmdline.clone();
        }
        let words: Vec<&str> = self.cmdline.split_ascii_whitespace().collect();
        let end = words.iter().position(|&word| word == "--").unwrap_or(words.len());
        let arguments: Vec<String> = devices.iter().map(boot::device_argument).collect();
        let all = words[..end]
            .iter()
            .copied()
            .chain(arguments.iter().map(String::as_str));
        all.chain(words[end..].iter().copied())
            .collect::<Vec<_>>()
            .join(" ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config() -> MachineConfig {
        MachineConfig {
            kernel: PathBuf::new(),
            initrd: None,
            extra_initrd: Vec::new(),
            cmdline: "quiet".to_owned(),
            memory: 128 << 20,
            cpus: 1,
            rng_seed: None,
            discovery: Discovery::Auto,
            disks: Vec::new(),
        }
    }

    #[test]
    fn numbers_out_of_range_are_named() {
        for cpus in [0, 9, 255] {
            let error = MachineConfig { cpus, ..config() }
                .check()
                .unwrap_err()
                .to_string();
            assert_eq!(error, format!("{cpus} vCPUs: a machine has 1 to 8"));
        }
        for memory in [0, MIN_MEMORY - 4096, MAX_MEMORY + 4096, MIN_MEMORY + 1] {
            let error = MachineConfig { memory, ..config() }
                .check()
                .unwrap_err()
                .to_string();
            assert!(
                error.starts_with(&format!(
                    "{memory} bytes of memory: a machine has 64 MiB to 8 GiB"
                )),
                "{error}"
            );
        }
        for (cpus, memory) in [(1, MIN_MEMORY), (8, MAX_MEMORY)] {
            MachineConfig {
                cpus,
                memory,
                ..config()
            }
            .check()
            .unwrap();
        }
    }

    #[test]
    fn without_acpi_devices_are_named_on_the_command_line() {
        let devices = [
            boot::MmioDevice {
                base: 0xd000_0000,
                gsi: 5,
            },
            boot::MmioDevice {
                base: 0xd000_1000,
                gsi: 6,
            },
        ];
        assert_eq!(config().whole_cmdline(&devices), "quiet");
        let off = MachineConfig {
            cmdline: "acpi=off quiet -- init args".to_owned(),
            ..config()
        };
        assert_eq!(
            off.whole_cmdline(&devices),
            "acpi=off quiet virtio_mmio.device=4K@0xd0000000:5 virtio_mmio.device=4K@0xd0001000:6 -- init args"
        );
    }
}
