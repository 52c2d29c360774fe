//! What this host can do, as data; in this form it is `provium doctor --json`.
//!
//! Input: this host. Output: [`Facts`]. Not here: wording.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::thread;

use provium_emulated::{self as emulated, KernelSource};
use provium_vmm::soundness::{Soundness, Verdict};
use serde::Serialize;

use super::choose::{Accel, NoWay, Way, check, decide};

/// Everything `provium doctor` knows.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Facts {
    /// Whether this is an emulated host.
    pub inside: bool,
    /// This host's KVM.
    pub kvm: KvmFacts,
    /// The emulated host that could be started here; absent in one.
    pub emulated_host: Option<EmulatedFacts>,
    /// Where tests run with `--accel auto`; absent when they cannot.
    pub accel_auto: Option<Way>,
    /// Why they cannot.
    pub cannot: Option<String>,
    /// Cores, memory, disk.
    pub machine: Machine,
}

/// This host's KVM.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct KvmFacts {
    /// Whether there is a `/dev/kvm`.
    pub present: bool,
    /// Whether this user may open it.
    pub permitted: bool,
    /// Whether guests run on it.
    pub sound: bool,
    /// The verdict as a sentence.
    pub reason: String,
    /// The self-test's result.
    pub check: Soundness,
    /// The group that may open it, where this user may not.
    pub group: Option<Group>,
    /// Whether the CPU has what hardware KVM needs (`vmx` or `svm`).
    pub cpu_virtualization: bool,
}

/// A group of users.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Group {
    /// Its number.
    pub id: u32,
    /// Its name, if it has one.
    pub name: Option<String>,
}

/// The emulated host that could be started here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct EmulatedFacts {
    /// Whether it could.
    pub available: bool,
    /// QEMU's version.
    pub qemu: Option<String>,
    /// Its kernel.
    pub kernel: Option<KernelFacts>,
    /// Packages to install first.
    pub missing_packages: Vec<&'static str>,
    /// What packages do not solve.
    pub problems: Vec<String>,
    /// Memory it would take, in MiB.
    pub memory_mib: u64,
    /// Whether QEMU would be kept from the kernel's own files, and from keys and tokens of the user's.
    pub confined: bool,
}

/// The emulated host's kernel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum KernelFacts {
    /// It is there.
    Found {
        /// Its version.
        version: String,
        /// Its file.
        path: PathBuf,
    },
    /// It would be downloaded at the first start.
    Download {
        /// Debian's package, if the package lists know it.
        package: Option<String>,
    },
}

/// Cores, memory, disk.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Machine {
    /// CPUs this process may use.
    pub cores: usize,
    /// Memory in MiB.
    pub memory_mib: u64,
    /// Memory available for new programs, in MiB.
    pub available_mib: u64,
    /// Provium's cache folder; absent without HOME and XDG_CACHE_HOME.
    pub cache: Option<PathBuf>,
    /// Space left there, in MiB.
    pub cache_free_mib: Option<u64>,
}

/// Looks at everything. Downloads and starts nothing; takes some 100 ms.
pub fn facts() -> Facts {
    let inside = emulated::is_inside();
    let check = check(inside);
    let available = emulated::available();
    let way = decide(Accel::Auto, inside, || check.clone(), || available.clone());
    let emulated_host = (!inside).then(|| match &available {
        Ok(available) => EmulatedFacts {
            available: true,
            qemu: emulated::qemu_version(available),
            kernel: Some(match &available.kernel {
                KernelSource::Found(kernel) => KernelFacts::Found {
                    version: kernel.version.clone(),
                    path: kernel.image.clone(),
                },
                KernelSource::Download => KernelFacts::Download {
                    package: emulated::kernel_package(),
                },
            }),
            missing_packages: Vec::new(),
            problems: Vec::new(),
            memory_mib: emulated::default_memory_mib(),
            confined: emulated::can_confine(),
        },
        Err(missing) => EmulatedFacts {
            available: false,
            qemu: None,
            kernel: None,
            missing_packages: missing.packages.clone(),
            problems: missing.problems.clone(),
            memory_mib: emulated::default_memory_mib(),
            confined: emulated::can_confine(),
        },
    });
    Facts {
        inside,
        kvm: kvm(check),
        emulated_host,
        cannot: way.as_ref().err().map(NoWay::to_string),
        accel_auto: way.ok(),
        machine: machine(),
    }
}

fn kvm(check: Soundness) -> KvmFacts {
    let device = fs::metadata("/dev/kvm");
    let permitted = !matches!(check.verdict, Verdict::Absent { .. } | Verdict::NotPermitted);
    let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    KvmFacts {
        present: device.is_ok(),
        permitted,
        sound: check.is_sound(),
        reason: check.reason(),
        group: device
            .ok()
            .filter(|_| check.verdict == Verdict::NotPermitted)
            .map(|device| group(device.gid())),
        cpu_virtualization: has_virtualization(&cpuinfo),
        check,
    }
}

fn group(id: u32) -> Group {
    let groups = fs::read_to_string("/etc/group").unwrap_or_default();
    Group {
        id,
        name: group_name(&groups, id),
    }
}

/// The name of a group in `/etc/group`.
fn group_name(groups: &str, id: u32) -> Option<String> {
    groups.lines().find_map(|line| {
        let mut fields = line.split(':');
        let (name, number) = (fields.next()?, fields.nth(1)?);
        (number.parse() == Ok(id)).then(|| name.to_owned())
    })
}

fn has_virtualization(cpuinfo: &str) -> bool {
    let flags = cpuinfo
        .lines()
        .find(|line| line.starts_with("flags"))
        .unwrap_or_default();
    flags
        .split_whitespace()
        .any(|flag| flag == "vmx" || flag == "svm")
}

fn machine() -> Machine {
    let meminfo = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let cache = emulated::cache_folder().and_then(|folder| folder.parent().map(Path::to_owned));
    Machine {
        cores: thread::available_parallelism().map_or(1, usize::from),
        memory_mib: mib(&meminfo, "MemTotal:"),
        available_mib: mib(&meminfo, "MemAvailable:"),
        cache_free_mib: cache.as_deref().and_then(|folder| free_mib(folder).ok()),
        cache,
    }
}

fn mib(meminfo: &str, field: &str) -> u64 {
    let line = meminfo.lines().find_map(|line| line.strip_prefix(field));
    line.and_then(|line| line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok())
        .unwrap_or(0)
        >> 10
}

/// Space for this user on the file system where the folder is, or will be.
fn free_mib(folder: &Path) -> io::Result<u64> {
    let there = folder
        .ancestors()
        .find(|folder| folder.exists())
        .unwrap_or(Path::new("/"));
    let space = rustix::fs::statvfs(there)?;
    Ok((space.f_bavail * space.f_frsize) >> 20)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_have_names() {
        let groups = "root:x:0:\nkvm:x:104:me,you\nbroken\n";
        assert_eq!(group_name(groups, 104).as_deref(), Some("kvm"));
        assert_eq!(group_name(groups, 0).as_deref(), Some("root"));
        assert_eq!(group_name(groups, 7), None);
    }

    #[test]
    fn the_cpus_flags_tell_whether_hardware_kvm_is_possible() {
        assert!(has_virtualization("model name: x\nflags\t\t: fpu vmx sse\n"));
        assert!(has_virtualization("flags : svm\n"));
        assert!(!has_virtualization("flags : fpu vmxish\n"));
        assert!(!has_virtualization(""));
    }

    #[test]
    fn space_is_found_for_folders_that_are_yet_to_be_made() {
        assert!(free_mib(Path::new("/tmp/not/yet/there")).unwrap() > 0);
        assert_eq!(mib("MemTotal:   4194304 kB\n", "MemTotal:"), 4096);
        assert_eq!(mib("", "MemTotal:"), 0);
    }

    #[test]
    fn the_facts_of_this_host_agree_with_each_other() {
        let facts = facts();
        assert_eq!(facts.accel_auto.is_none(), facts.cannot.is_some());
        assert_eq!(facts.accel_auto == Some(Way::Kvm), facts.kvm.sound);
        assert!(facts.kvm.present || !facts.kvm.permitted);
        assert!(facts.machine.cores > 0 && facts.machine.memory_mib > 0);
        let json = serde_json::to_value(&facts).unwrap();
        assert_eq!(json["kvm"]["sound"], facts.kvm.sound);
        assert!(json["kvm"]["check"]["verdict"]["state"].is_string());
    }
}
