//! What a VM boots: its profile, changed by the options of its declaration and of `boot`.
//!
//! Enters: options tables and a profile. Leaves: the monitor's [`MachineConfig`]. Absent on purpose: the limits of
//! memory and vCPUs; the configuration's own checks are used.

use std::time::Duration;

use provium_vmm::{Discovery, MachineConfig};
use serde::{Deserialize, Serialize};

use mlua::Value;

use crate::agent_archive::agent_archive;
use crate::config::{Profile, WallClock, check_cpus, check_memory};
use crate::guest::{Arrival, with_agent};
use crate::lua::api::call::{Call, Raise};
use crate::lua::api::options::Options;
use crate::lua::objects::clock::time_of;
use crate::lua::objects::disk::DiskOption;
use crate::lua::objects::inject::{self, InjectedFile};

/// How long a boot may take where nothing else is said.
const BOOT_TIMEOUT: Duration = Duration::from_secs(60);

/// Changes to a profile; what is absent stays the profile's.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct BootOptions {
    memory: Option<u64>,
    cpus: Option<u8>,
    cmdline: Option<String>,
    cmdline_append: Option<String>,
    boot_timeout: Option<Duration>,
    rng_seed: Option<u64>,
    #[serde(default)]
    disks: Option<Vec<DiskOption>>,
    #[serde(default)]
    initial_time: Option<i64>,
    #[serde(default)]
    files: Option<Vec<InjectedFile>>,
}

impl BootOptions {
    /// Reads a table of options.
    pub(crate) fn read(call: &Call<'_>, options: Options<'_>) -> Result<BootOptions, Raise> {
        let memory = match options.size("memory")? {
            None => None,
            Some(bytes) => Some(check_memory(bytes).map_err(|message| options.fail("memory", message))?),
        };
        let cpus = match options.integer("cpus")? {
            None => None,
            Some(count) => Some(check_cpus(count).map_err(|message| options.fail("cpus", message))?),
        };
        let read = BootOptions {
            memory,
            cpus,
            cmdline: options.text("kernel_cmdline")?,
            cmdline_append: options.text("kernel_cmdline_append")?,
            boot_timeout: options.duration("boot_timeout")?,
            rng_seed: options.integer("rng_seed")?.map(i64::cast_unsigned),
            disks: DiskOption::read_all(&options)?,
            initial_time: match options.value("initial_time")? {
                Value::Nil => None,
                value => Some(time_of(&value).map_err(|message| options.fail("initial_time", message))?),
            },
            files: InjectedFile::read_all(call, &options)?,
        };
        options.finish()?;
        Ok(read)
    }

    /// These, and where they say nothing, `earlier` ones.
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

    /// What guests of a snapshot of this VM are told when they are resumed.
    pub(crate) fn arrival(&self, profile: &Profile) -> Arrival {
        Arrival {
            // A seed is the wish for a guest that draws the same numbers each time.
            reseed: self.rng_seed.is_none(),
            // Nor is a time that the test chose to be taken away.
            correct_clock: profile.wall_clock == WallClock::Corrected && self.initial_time.is_none(),
        }
    }

    /// How long the boot may take.
    pub(crate) fn boot_timeout(&self) -> Duration {
        self.boot_timeout.unwrap_or(BOOT_TIMEOUT)
    }

    /// The disks it names.
    pub(crate) fn disks(&self) -> &[DiskOption] {
        self.disks.as_deref().unwrap_or_default()
    }

    /// Nanoseconds since 1970 that the guest's clock is set to when it has booted.
    pub(crate) fn initial_time(&self) -> Option<i64> {
        self.initial_time
    }

    /// The machine that `profile` makes with these changes.
    ///
    /// # Errors
    /// A file for the guest that cannot be read.
    pub(crate) fn machine(&self, profile: &Profile) -> Result<MachineConfig, String> {
        let rootfs = profile.rootfs.is_some() && profile.inject_agent;
        let files = inject::archives(self.files.as_deref().unwrap_or_default(), rootfs)?;
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
