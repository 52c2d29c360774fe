//! What a VM boots: its profile, changed by the options of its declaration and of `boot`.
//!
//! Input: a profile. Output: the monitor's [`MachineConfig`]. Not here: Lua tables, which `read` makes
//! options of; and the limits of memory and vCPUs, which the configuration has.

use std::time::Duration;

use provium_vmm::{Discovery, MachineConfig};
use serde::{Deserialize, Serialize};

use super::disks::DiskOption;
use super::files::{InjectedFile, archives};
use crate::agent_archive::agent_archive;
use crate::config::{Profile, WallClock};
use crate::guest::{Arrival, with_agent};

/// Time limit of a boot where nothing else is said.
const BOOT_TIMEOUT: Duration = Duration::from_secs(60);

/// Options of a boot: changes to a profile. An option that is absent stays the profile's.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct BootOptions {
    /// Bytes of memory.
    pub(crate) memory: Option<u64>,
    /// Number of vCPUs.
    pub(crate) cpus: Option<u8>,
    /// Kernel command line in place of the profile's.
    pub(crate) cmdline: Option<String>,
    /// Words behind the kernel command line.
    pub(crate) cmdline_append: Option<String>,
    /// Time limit of the boot.
    pub(crate) boot_timeout: Option<Duration>,
    /// Seed of what the guest draws random numbers from.
    pub(crate) rng_seed: Option<u64>,
    /// Disks beside the `rootfs`.
    #[serde(default)]
    pub(crate) disks: Option<Vec<DiskOption>>,
    /// Nanoseconds since 1970 that the guest's clock is set to.
    #[serde(default)]
    pub(crate) initial_time: Option<i64>,
    /// Files that the guest finds when it starts.
    #[serde(default)]
    pub(crate) files: Option<Vec<InjectedFile>>,
}

impl BootOptions {
    /// The options with those of `earlier` where they say nothing.
    pub(crate) fn over(self, earlier: &BootOptions) -> BootOptions {
        BootOptions {
            memory: self.memory.or(earlier.memory),
            cpus: self.cpus.or(earlier.cpus),
            cmdline: self.cmdline.or_else(|| earlier.cmdline.clone()),
            cmdline_append: self.cmdline_append.or_else(|| earlier.cmdline_append.clone()),
            boot_timeout: self.boot_timeout.or(earlier.boot_timeout),
            rng_seed: self.rng_seed.or(earlier.rng_seed),
            disks: self.disks.or_else(|| earlier.disks.clone()),
            initial_time: self.initial_time.or(earlier.initial_time),
            files: self.files.or_else(|| earlier.files.clone()),
        }
    }

    /// What guests that are resumed from a snapshot of this VM are told: whether to draw a new seed and to
    /// set their clocks.
    pub(crate) fn arrival(&self, profile: &Profile) -> Arrival {
        Arrival {
            // A seed is the wish for a guest that draws the same numbers each time.
            reseed: self.rng_seed.is_none(),
            // Nor is a time that the test chose to be taken away.
            correct_clock: profile.wall_clock == WallClock::Corrected && self.initial_time.is_none(),
        }
    }

    /// Time limit of the boot.
    pub(crate) fn boot_timeout(&self) -> Duration {
        self.boot_timeout.unwrap_or(BOOT_TIMEOUT)
    }

    /// The disks beside the `rootfs`.
    pub(crate) fn disks(&self) -> &[DiskOption] {
        self.disks.as_deref().unwrap_or_default()
    }

    /// Time that the guest's clock is set to when it has booted, in nanoseconds since 1970.
    pub(crate) fn initial_time(&self) -> Option<i64> {
        self.initial_time
    }

    /// The machine that `profile` makes with these changes.
    ///
    /// # Errors
    /// A file for the guest that cannot be read.
    pub(crate) fn machine(&self, profile: &Profile) -> Result<MachineConfig, String> {
        let rootfs = profile.rootfs.is_some() && profile.inject_agent;
        let files = archives(self.files.as_deref().unwrap_or_default(), rootfs)?;
        let base = self.cmdline.as_ref().unwrap_or(&profile.cmdline);
        // For the agent, which makes the disk of that name its root.
        let root = rootfs.then_some("provium.rootfs");
        let words = [Some(base), self.cmdline_append.as_ref()].map(|part| part.map(|part| part.trim()));
        let cmdline = std::iter::once(root)
            .chain(words)
            .flatten()
            .collect::<Vec<_>>()
            .join(" ");
        let (cmdline, mut extra_initrd) = match profile.inject_agent {
            true => (with_agent(&cmdline), agent_archive().to_vec()),
            false => (cmdline, Vec::new()),
        };
        extra_initrd.extend(files.late);
        Ok(MachineConfig {
            kernel: profile.kernel.clone(),
            initrd: profile.initrd.clone(),
            early_initrd: files.early,
            extra_initrd,
            cmdline,
            memory: self.memory.unwrap_or(profile.memory),
            cpus: self.cpus.unwrap_or(profile.cpus),
            rng_seed: self.rng_seed,
            discovery: Discovery::default(),
            disks: Vec::new(),
        })
    }
}
