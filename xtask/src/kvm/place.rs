//! Where the KVM tests run.
//!
//! Input: what `provium doctor` says. Output: this machine's KVM where it is sound, else emulated hosts, as
//! many as cores and memory carry.

use std::fmt;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};
use serde::Deserialize;

/// Where, and how many tests at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// Directly on this machine.
    Here {
        /// Workers side by side.
        workers: usize,
    },
    /// One worker in each emulated host.
    Emulated {
        /// Emulated hosts side by side.
        hosts: usize,
        /// Whether the first start downloads their kernel.
        downloads: bool,
    },
}

impl Place {
    /// Asks `provium doctor`.
    ///
    /// # Errors
    /// When it gives no answer, or says that tests cannot run here at all.
    pub(crate) fn find(provium: &Path) -> Result<Place> {
        // Its exit code says whether tests can run here; the facts are on stdout either way.
        let answer = Command::new(provium).args(["doctor", "--json"]).output();
        let answer = answer.with_context(|| format!("start {}", provium.display()))?;
        let facts: Facts = serde_json::from_slice(&answer.stdout).with_context(|| {
            format!(
                "provium doctor --json: {}\n{}",
                answer.status,
                String::from_utf8_lossy(&answer.stderr)
            )
        })?;
        facts.place()
    }

    /// How many workers share the tests.
    pub(crate) fn workers(self) -> usize {
        match self {
            Place::Here { workers } => workers,
            Place::Emulated { hosts, .. } => hosts,
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::Here { .. } => write!(f, "this machine's KVM"),
            Place::Emulated { hosts: 1, .. } => write!(f, "an emulated host"),
            Place::Emulated { hosts, .. } => write!(f, "{hosts} emulated hosts"),
        }
    }
}

/// What `provium doctor --json` prints, as far as it is used here.
#[derive(Debug, Deserialize)]
struct Facts {
    kvm: Kvm,
    emulated_host: Option<EmulatedHost>,
    cannot: Option<String>,
    machine: Machine,
}

#[derive(Debug, Deserialize)]
struct Kvm {
    sound: bool,
    reason: String,
}

#[derive(Debug, Deserialize)]
struct EmulatedHost {
    available: bool,
    memory_mib: u64,
    kernel: Option<Kernel>,
}

#[derive(Debug, Deserialize)]
struct Kernel {
    /// `found` or `download`.
    state: String,
}

#[derive(Debug, Deserialize)]
struct Machine {
    cores: usize,
    available_mib: u64,
}

impl Facts {
    fn place(&self) -> Result<Place> {
        let cores = self.machine.cores.max(1);
        if self.kvm.sound {
            return Ok(Place::Here {
                workers: cores.min(4),
            });
        }
        match &self.emulated_host {
            Some(host) if host.available => {
                // One uses one core; more than two gain little. QEMU itself needs some memory too.
                let memory = host.memory_mib.max(1) + 512;
                let by_memory = usize::try_from(self.machine.available_mib / memory).unwrap_or(usize::MAX);
                let hosts = cores.min(by_memory).clamp(1, 2);
                let downloads = host
                    .kernel
                    .as_ref()
                    .is_some_and(|kernel| kernel.state == "download");
                Ok(Place::Emulated { hosts, downloads })
            }
            _ => {
                let why = self.cannot.as_deref().unwrap_or("no emulated host is available");
                bail!("KVM tests cannot run here: {}; {why}", self.kvm.reason)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(sound: bool, available: bool, cores: usize, available_mib: u64) -> Result<Place> {
        let facts = serde_json::json!({
            "inside": false,
            "kvm": { "present": true, "sound": sound, "reason": "SYSCALL stays in ring 3" },
            "emulated_host": { "available": available, "memory_mib": 6144, "kernel": { "state": "download", "package": null } },
            "cannot": if sound || available { None } else { Some("install qemu-system-x86") },
            "machine": { "cores": cores, "available_mib": available_mib },
        });
        serde_json::from_value::<Facts>(facts).unwrap().place()
    }

    #[test]
    fn sound_kvm_is_used_directly() {
        assert_eq!(
            place(true, true, 16, 64 << 10).unwrap(),
            Place::Here { workers: 4 }
        );
        assert_eq!(
            place(true, false, 1, 1 << 10).unwrap(),
            Place::Here { workers: 1 }
        );
    }

    #[test]
    fn emulated_hosts_fit_cores_and_memory() {
        let hosts = |cores, mib| place(false, true, cores, mib).unwrap().workers();
        assert_eq!(hosts(1, 64 << 10), 1);
        assert_eq!(hosts(2, 16 << 10), 2);
        assert_eq!(hosts(2, 8 << 10), 1);
        assert_eq!(hosts(64, 640 << 10), 2);
        assert_eq!(hosts(2, 0), 1);
        assert_eq!(
            place(false, true, 1, 0).unwrap(),
            Place::Emulated {
                hosts: 1,
                downloads: true
            }
        );
    }

    #[test]
    fn nowhere_to_run_says_why() {
        let message = place(false, false, 2, 16 << 10).unwrap_err().to_string();
        assert!(
            message.contains("ring 3") && message.contains("qemu-system-x86"),
            "{message}"
        );
    }
}
