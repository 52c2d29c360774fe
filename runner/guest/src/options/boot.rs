//! Changes to what a guest boots, and the machine that comes of both.
//!
//! Input: a [`GuestSpec`] and [`BootOptions`] of a declaration, of a boot, or out of a fixture. Output: the
//! monitor's [`MachineConfig`] and disks, and how a guest of a snapshot is resumed. Not here: names of
//! options, and reading them.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use provium_vmm::cmdline::CommandLine;
use provium_vmm::disk::DiskSpec;
use provium_vmm::{Discovery, MachineConfig};
use serde::{Deserialize, Serialize, Serializer};

use super::disk::{DiskOption, check_raw};
use super::error::OptionsError;
use super::files::{self, InjectedFile};
use super::module_tree;
use super::modules::modules_archive;
use super::share::{self, ShareOption};
use super::spec::{GuestSpec, WallClock};
use crate::start::agent_archive::agent_archive;
use crate::start::cmdline::with_agent;
use crate::start::kernel_check::KernelCheck;
use crate::start::resume::ResumeOptions;
use crate::vm::disks::ROOTFS_DISK;

/// How long a boot may take where nothing else is said.
const BOOT_TIMEOUT: Duration = Duration::from_secs(60);

/// Changes to a [`GuestSpec`]; what is absent stays as it is there.
///
/// Fixtures hold them as JSON whose keys are sorted, and so are the fields: a change of a name or of an order
/// makes other files than before.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BootOptions {
    /// How long the boot may take.
    #[serde(serialize_with = "sorted_duration")]
    pub boot_timeout: Option<Duration>,
    /// The kernel's command line, in place of the other.
    pub cmdline: Option<String>,
    /// What is put behind the command line.
    pub cmdline_append: Option<String>,
    /// Number of vCPUs.
    pub cpus: Option<u8>,
    /// Disks besides the root, in place of the others.
    #[serde(default)]
    pub disks: Option<Vec<DiskOption>>,
    /// Files that the guest finds when it starts.
    #[serde(default)]
    pub files: Option<Vec<InjectedFile>>,
    /// Nanoseconds since 1970 that the guest's clock is set to when it has booted.
    #[serde(default)]
    pub initial_time: Option<i64>,
    /// Bytes of memory.
    pub memory: Option<u64>,
    /// Seed of the guest's random numbers; the host's entropy without.
    pub rng_seed: Option<u64>,
    /// Folders of the host that the guest sees, in place of the others. Fixtures from before the option lack
    /// it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shares: Option<Vec<ShareOption>>,
}

impl BootOptions {
    /// These, and where they say nothing, `earlier` ones.
    pub fn over(self, earlier: &BootOptions) -> BootOptions {
        BootOptions {
            boot_timeout: self.boot_timeout.or(earlier.boot_timeout),
            cmdline: self.cmdline.or_else(|| earlier.cmdline.clone()),
            cmdline_append: self.cmdline_append.or_else(|| earlier.cmdline_append.clone()),
            cpus: self.cpus.or(earlier.cpus),
            disks: self.disks.or_else(|| earlier.disks.clone()),
            files: self.files.or_else(|| earlier.files.clone()),
            initial_time: self.initial_time.or(earlier.initial_time),
            memory: self.memory.or(earlier.memory),
            rng_seed: self.rng_seed.or(earlier.rng_seed),
            shares: self.shares.or_else(|| earlier.shares.clone()),
        }
    }

    /// How guests of a snapshot of this VM are resumed.
    pub fn resume_options(&self, spec: &GuestSpec) -> ResumeOptions {
        ResumeOptions {
            // A seed is the wish for a guest that draws the same numbers each time.
            reseed: self.rng_seed.is_none(),
            // Nor is a time that the test chose to be taken away.
            correct_clock: spec.wall_clock == WallClock::Corrected && self.initial_time.is_none(),
        }
    }

    /// How long the boot may take, 60 s where nothing else is said.
    pub fn time_limit(&self) -> Duration {
        self.boot_timeout.unwrap_or(BOOT_TIMEOUT)
    }

    /// The machine that `spec` makes with these changes, without disks.
    ///
    /// # Errors
    /// A file for the guest, or a module, that cannot be read; a command line with a quote that is not
    /// closed.
    pub fn machine(&self, spec: &GuestSpec) -> Result<MachineConfig, OptionsError> {
        let rootfs = spec.rootfs.is_some() && spec.inject_agent;
        let host_root = spec.host_root && spec.inject_agent;
        let mut files = self.files.clone().unwrap_or_default();
        let mut shares = self.shares.clone().unwrap_or_else(|| spec.shares.clone());
        if let Some(tree) = module_tree::of(spec, &shares) {
            files.extend_from_slice(&tree.lists);
            shares.push(tree.share.clone());
        }
        let files = files::archives(&files, spec.inject_agent)?;
        let base = self.cmdline.as_ref().unwrap_or(&spec.cmdline);
        // For the agent, which makes the disk of that name its root.
        let root = rootfs.then_some("provium.rootfs");
        let words = [Some(base), self.cmdline_append.as_ref()].map(|part| part.map(|part| part.trim()));
        let cmdline = std::iter::once(root)
            .chain(words)
            .flatten()
            .collect::<Vec<_>>()
            .join(" ");
        // The agent's own words, which come last, would be part of the user's.
        if spec.inject_agent && cmdline.matches('"').count() % 2 == 1 {
            return Err(OptionsError::OpenQuote(cmdline));
        }
        if let Some(error) = impossible(&cmdline) {
            return Err(error);
        }
        let (cmdline, mut extra_initrds) = match spec.inject_agent {
            true => (with_agent(&cmdline), vec![Arc::clone(agent_archive())]),
            false => (cmdline, Vec::new()),
        };
        if let Some(folder) = spec.modules().filter(|_| spec.inject_agent) {
            extra_initrds.push(modules_archive(&folder)?);
        }
        if !files.late.is_empty() {
            extra_initrds.push(files.late.into());
        }
        let served = share::served(host_root, &shares);
        if spec.inject_agent && !served.is_empty() {
            extra_initrds.push(share::list(host_root, &shares)?.into());
        }
        Ok(MachineConfig {
            kernel: spec.kernel.clone(),
            initrd: spec.initrd.clone(),
            early_initrd: files.early,
            extra_initrds,
            cmdline,
            memory: self.memory.unwrap_or(spec.memory),
            cpus: self.cpus.unwrap_or(spec.cpus),
            rng_seed: self.rng_seed,
            discovery: Discovery::default(),
            shares: served,
            disks: Vec::new(),
        })
    }

    /// What is known of the kernel, for a boot that fails; nothing where the agent is not Provium's to start.
    pub fn kernel_check(&self, spec: &GuestSpec) -> Option<KernelCheck> {
        let disks = spec.rootfs.is_some() || self.disks.as_ref().is_some_and(|disks| !disks.is_empty());
        let shares = spec.host_root || !self.shares.as_ref().unwrap_or(&spec.shares).is_empty();
        let features = [("disks", disks), ("shares", shares)];
        let words = [
            self.cmdline.as_ref().or(Some(&spec.cmdline)),
            self.cmdline_append.as_ref(),
        ];
        let mut lines = words.into_iter().flatten().map(|words| CommandLine::parse(words));
        spec.inject_agent.then(|| KernelCheck {
            kernel: spec.kernel.clone(),
            modules: spec.modules(),
            has_initrd: spec.initrd.is_some(),
            features: features
                .into_iter()
                .filter(|(_, asked)| *asked)
                .map(|(name, _)| name)
                .collect(),
            acpi_off: lines.any(|line| line.has("acpi", "off")),
        })
    }

    /// The disks it names, or else `spec`, behind the root of this image, if there is one; relative paths are
    /// `folder`'s.
    ///
    /// # Errors
    /// [`OptionsError::ForeignImage`], [`OptionsError::RootfsTaken`].
    pub fn disk_specs(
        &self,
        spec: &GuestSpec,
        root: Option<&Path>,
        folder: &Path,
    ) -> Result<Vec<DiskSpec>, OptionsError> {
        if let Some(image) = root {
            check_raw(ROOTFS_DISK, image)?;
        }
        let mut specs: Vec<DiskSpec> = root
            .map(|image| DiskSpec {
                id: ROOTFS_DISK.to_owned(),
                image: Some(image.to_owned()),
                size: None,
                readonly: false,
                writable: false,
            })
            .into_iter()
            .collect();
        for disk in self.disks.as_ref().unwrap_or(&spec.disks) {
            let spec = disk.spec(folder)?;
            if specs.iter().any(|other| other.id == spec.id) {
                return Err(OptionsError::RootfsTaken(spec.id));
            }
            specs.push(spec);
        }
        Ok(specs)
    }
}

/// What is wrong with a command line with which no kernel comes up here: one that switches off its only
/// clock, or the interrupt controllers without which devices that ACPI describes have no interrupts. With
/// `acpi=off` there are others.
fn impossible(cmdline: &str) -> Option<OptionsError> {
    const FLAGS: [&str; 4] = ["noapic", "nolapic", "disableapic", "nosmp"];
    let line = CommandLine::parse(cmdline);
    let acpi_off = line.has("acpi", "off");
    line.kernel.iter().find_map(|word| match word.name_and_value() {
        ("no-kvmclock", None) => Some(OptionsError::NoClock),
        (flag, None) if FLAGS.contains(&flag) && !acpi_off => {
            Some(OptionsError::NoInterrupts(flag.to_owned()))
        }
        ("maxcpus", Some("0")) if !acpi_off => Some(OptionsError::NoInterrupts("maxcpus=0".to_owned())),
        _ => None,
    })
}

/// A duration with its parts in the order of their names.
fn sorted_duration<S: Serializer>(duration: &Option<Duration>, serializer: S) -> Result<S::Ok, S::Error> {
    #[derive(Serialize)]
    struct Parts {
        nanos: u32,
        secs: u64,
    }
    let parts = duration.map(|duration| Parts {
        nanos: duration.subsec_nanos(),
        secs: duration.as_secs(),
    });
    parts.serialize(serializer)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options::share::ShareMode;

    /// Options in which everything is said.
    fn everything() -> BootOptions {
        BootOptions {
            boot_timeout: Some(Duration::new(90, 500)),
            cmdline: Some("quiet".to_owned()),
            cmdline_append: Some("debug".to_owned()),
            cpus: Some(2),
            disks: Some(vec![DiskOption {
                id: "data".to_owned(),
                image: Some("a.img".into()),
                raw: false,
                readonly: true,
                size: None,
                writable: false,
            }]),
            files: Some(vec![
                InjectedFile::of_bytes("/a", b"\x00\xff".to_vec()),
                InjectedFile {
                    mode: Some(0o755),
                    ..InjectedFile::of_host("/b", "/host/b")
                },
            ]),
            initial_time: Some(-5),
            memory: Some(1 << 30),
            rng_seed: Some(u64::MAX),
            shares: Some(vec![ShareOption {
                guest: "/mnt".to_owned(),
                host: "/src".into(),
                mode: ShareMode::Rw,
            }]),
        }
    }

    #[test]
    fn fixtures_hold_options_in_the_form_they_always_had() {
        let known =
            r#"{"boot_timeout":{"nanos":500,"secs":90},"cmdline":"quiet","cmdline_append":"debug","cpus":2,"#
                .to_owned()
                + r#""disks":[{"id":"data","image":"a.img","readonly":true,"size":null,"writable":false}],"#
                + r#""files":[{"content":{"Bytes":[0,255]},"mode":null,"path":"/a"},"#
                + r#"{"content":{"Host":"/host/b"},"mode":493,"path":"/b"}],"#
                + r#""initial_time":-5,"memory":1073741824,"rng_seed":18446744073709551615,"#
                + r#""shares":[{"guest":"/mnt","host":"/src","mode":"rw"}]}"#;
        let written = serde_json::to_string(&everything()).unwrap();
        assert_eq!(written, known);
        // A value has its keys sorted, and fixtures were written by way of one.
        let value = serde_json::to_value(everything()).unwrap();
        assert_eq!(value.to_string(), known);
        let read: BootOptions = serde_json::from_str(&known).unwrap();
        assert_eq!(read, everything());
    }

    #[test]
    fn options_of_an_older_fixture_lack_what_came_later() {
        let old = r#"{"boot_timeout":null,"cmdline":null,"cmdline_append":null,"cpus":null,"#.to_owned()
            + r#""memory":4096,"rng_seed":null}"#;
        let read: BootOptions = serde_json::from_str(&old).unwrap();
        let expected = BootOptions {
            memory: Some(4096),
            ..BootOptions::default()
        };
        assert_eq!(read, expected);
    }

    #[test]
    fn what_is_absent_comes_from_before() {
        let later = BootOptions {
            cpus: Some(4),
            ..BootOptions::default()
        };
        let both = later.over(&everything());
        let expected = BootOptions {
            cpus: Some(4),
            ..everything()
        };
        assert_eq!(both, expected);
        assert_eq!(everything().over(&BootOptions::default()), everything());
        assert_eq!(BootOptions::default().over(&everything()), everything());
    }

    #[test]
    fn a_machine_is_the_spec_with_the_changes() {
        let spec = GuestSpec {
            rootfs: Some("/root.img".into()),
            ..GuestSpec::new("/kernel")
        };
        let options = BootOptions {
            files: Some(vec![InjectedFile::of_bytes("/etc/motd", b"hello".to_vec())]),
            cmdline_append: Some("debug".to_owned()),
            memory: Some(64 << 20),
            ..BootOptions::default()
        };
        let machine = options.machine(&spec).unwrap();
        assert_eq!(machine.memory, 64 << 20);
        assert_eq!(machine.cpus, 1);
        assert_eq!(
            machine.cmdline,
            "provium.rootfs console=ttyS0 quiet debug rdinit=/.provium/agent"
        );
        let has =
            |archive: &[u8], name: &str| archive.windows(name.len()).any(|part| part == name.as_bytes());
        let [agent, injected] = &machine.extra_initrds[..] else {
            panic!("{} archives", machine.extra_initrds.len());
        };
        assert!(has(injected, ".provium/files/etc/motd"));
        // Two megabytes, which no machine has a copy of.
        assert!(Arc::ptr_eq(agent, agent_archive()));
        assert!(has(injected, ".provium/files/etc"));
        assert!(machine.early_initrd.is_empty());
        let plain = GuestSpec {
            inject_agent: false,
            ..spec
        };
        let machine = options.machine(&plain).unwrap();
        assert_eq!(machine.cmdline, "console=ttyS0 quiet debug");
        assert!(
            machine
                .extra_initrds
                .iter()
                .all(|archive| !has(archive, ".provium"))
        );
    }

    #[test]
    fn a_kernel_is_left_neither_without_interrupts_nor_without_a_clock() {
        for (cmdline, word) in [
            ("quiet noapic", Some("noapic")),
            ("nosmp quiet", Some("nosmp")),
            ("maxcpus=0", Some("maxcpus=0")),
            ("nolapic acpi=off", None),
            ("maxcpus=1 x=noapic -- noapic", None),
            ("acpi=off no-kvmclock", Some("no-kvmclock")),
        ] {
            let error = impossible(cmdline).map(|error| error.to_string());
            let named = error.as_deref().and_then(|error| error.split('`').nth(1));
            assert_eq!(named, word, "{cmdline}");
        }
        let options = BootOptions {
            cmdline_append: Some("nolapic".to_owned()),
            ..BootOptions::default()
        };
        let error = options
            .machine(&GuestSpec::new("/kernel"))
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("`nolapic`") && error.contains("`acpi=off`"),
            "{error}"
        );
    }

    #[test]
    fn a_seed_and_a_chosen_time_stay_after_a_resume() {
        let spec = GuestSpec::new("/kernel");
        let plain = BootOptions::default().resume_options(&spec);
        assert_eq!(plain, ResumeOptions::default());
        let chosen = everything().resume_options(&spec);
        assert_eq!((chosen.reseed, chosen.correct_clock), (false, false));
        let kept = GuestSpec {
            wall_clock: WallClock::Kept,
            ..spec
        };
        assert!(!BootOptions::default().resume_options(&kept).correct_clock);
    }

    #[test]
    fn no_disk_takes_the_root_s_name() {
        let named = |id: &str| BootOptions {
            disks: Some(vec![DiskOption {
                id: id.to_owned(),
                image: None,
                raw: false,
                readonly: false,
                size: Some(1 << 20),
                writable: false,
            }]),
            ..BootOptions::default()
        };
        let (root, folder) = (Some(Path::new("/root.img")), Path::new("/project"));
        let mut spec = GuestSpec::new("/kernel");
        spec.disks = named("spec").disks.unwrap_or_default();
        let ids = |options: BootOptions| {
            let specs = options.disk_specs(&spec, root, folder).unwrap();
            specs.into_iter().map(|spec| spec.id).collect::<Vec<_>>()
        };
        assert_eq!(ids(named("data")), [ROOTFS_DISK, "data"]);
        assert_eq!(ids(BootOptions::default()), [ROOTFS_DISK, "spec"]);
        let error = named(ROOTFS_DISK).disk_specs(&spec, root, folder).unwrap_err();
        assert_eq!(error.to_string(), "disk `rootfs` is the profile's `rootfs`");
        assert!(named(ROOTFS_DISK).disk_specs(&spec, None, folder).is_ok());
    }
}
