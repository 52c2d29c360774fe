//! What the whole-program tests share. The benchmark uses the payloads.
//!
//! Everything here needs a KVM that can run a guest. `cargo xtask test` runs these tests where there is
//! one, on this host or on the emulated one; nothing is skipped, a missing guest is a failure.
//!
//! Input: the guests `cargo xtask guest` has made, tiny guests of a few instructions.
//! Output: booted guests, and what a process holds before and after.
//! Not here: tests; those are in `tests/tests`.

pub mod payload;
mod snapshots;
mod watch;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use provium_base::cancel::Cancel;
use provium_guest::agent_archive;
use provium_guest::{BootError, ExecOutcome, ExecSpec, Guest, boot, with_agent};
use provium_vmm::{Discovery, Machine, MachineConfig};

pub use snapshots::{essence, first_differences, rewrite, saved, saved_as, saved_machine, state_of};
pub use watch::Watch;

/// Long enough for anything that ends at all, even with several tests on one emulated processor.
pub const LONG: Duration = Duration::from_secs(120);

/// A file that `cargo xtask guest` makes.
pub fn artifact(name: &str) -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("the workspace");
    let path = root.join("target/guest").join(name);
    assert!(
        path.exists(),
        "{} is missing: run `cargo xtask guest` first",
        path.display()
    );
    path
}

/// A machine of the project's own kernel and initrd, with the agent, 128 MiB and one vCPU.
pub fn config() -> MachineConfig {
    MachineConfig {
        kernel: artifact("vmlinux"),
        initrd: Some(artifact("initrd.cpio")),
        early_initrd: Vec::new(),
        extra_initrds: vec![Arc::clone(agent_archive())],
        cmdline: with_agent("console=ttyS0 quiet"),
        memory: 128 << 20,
        cpus: 1,
        rng_seed: None,
        discovery: Discovery::Auto,
        shares: Vec::new(),
        disks: Vec::new(),
    }
}

/// [`config`] with another command line.
pub fn config_with(cmdline: &str) -> MachineConfig {
    MachineConfig {
        cmdline: with_agent(cmdline),
        ..config()
    }
}

/// Boots until the agent answers.
pub fn try_boot(config: MachineConfig, limit: Duration) -> Result<Guest, BootError> {
    boot(config, limit, &Cancel::new())
}

/// Boots a guest that has to come up.
pub fn boot_guest(config: MachineConfig) -> Guest {
    try_boot(config, LONG).unwrap_or_else(|error| panic!("the guest did not boot: {error}"))
}

/// Runs a shell line in the guest.
pub fn sh(guest: &mut Guest, line: &str) -> ExecOutcome {
    guest
        .client
        .ask(provium_guest::ops::exec(ExecSpec::shell(line)))
        .unwrap_or_else(|error| panic!("`{line}`: {error}"))
}

/// What a shell line in the guest prints.
pub fn stdout(guest: &mut Guest, line: &str) -> String {
    String::from_utf8(sh(guest, line).stdout).expect("text")
}

/// A started machine of 64 MiB that runs nothing but `code`.
pub fn start_payload(code: &[u8]) -> Machine {
    payload::start(code, 64 << 20).unwrap_or_else(|error| panic!("the payload's machine: {error:#}"))
}

/// A number from the environment, or the one that the ordinary suite has time for.
pub fn times(variable: &str, ordinary: usize) -> usize {
    match std::env::var(variable) {
        Ok(number) => number
            .parse()
            .unwrap_or_else(|_| panic!("{variable} is no number")),
        Err(_) => ordinary,
    }
}

/// Name of the one thread that helps those of all machines: it starts with the first and stays.
const HELPER: &str = "provium-helper";

/// Resources that this process holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holdings {
    /// Open descriptors, by what they are.
    pub descriptors: Vec<String>,
    /// Names of its threads, but for [`HELPER`].
    pub threads: Vec<String>,
    /// Mappings of guest memory or KVM.
    pub guest_mappings: usize,
    /// KiB of writable mappings. (All of the address space would count what the allocator has only
    /// reserved for a thread.)
    pub writable_kib: u64,
}

impl Holdings {
    /// Looks at `/proc/self`.
    pub fn now() -> Self {
        let entries = |dir: &str| -> Vec<PathBuf> {
            let dir = std::fs::read_dir(dir).expect("/proc is mounted");
            dir.filter_map(|entry| Some(entry.ok()?.path())).collect()
        };
        let fds = entries("/proc/self/fd");
        let mut descriptors: Vec<String> = fds
            .iter()
            .filter_map(|fd| std::fs::read_link(fd).ok())
            .map(|target| target.to_string_lossy().into_owned())
            .filter(|target| !target.contains("/proc/"))
            .collect();
        descriptors.sort();
        let tasks = entries("/proc/self/task");
        let mut threads: Vec<String> = tasks
            .iter()
            .filter_map(|task| std::fs::read_to_string(task.join("comm")).ok())
            .filter(|name| name.trim_end() != HELPER)
            .collect();
        threads.sort();
        let maps = std::fs::read_to_string("/proc/self/maps").expect("maps");
        let guest_mappings = maps
            .lines()
            .filter(|line| line.contains("kvm") || line.contains("memfd"))
            .count();
        let writable_kib = maps.lines().filter_map(writable_bytes).sum::<u64>() / 1024;
        Self {
            descriptors,
            threads,
            guest_mappings,
            writable_kib,
        }
    }

    /// Fails when this process holds more than it did `before`: descriptors, threads, mappings, or so much
    /// memory that a guest's must be among it.
    pub fn assert_no_more_than(&self, before: &Holdings, allowance_kib: u64) {
        assert_eq!(self.descriptors, before.descriptors, "descriptors");
        assert_eq!(self.threads, before.threads, "threads");
        assert_eq!(self.guest_mappings, before.guest_mappings, "mappings of KVM");
        assert!(
            self.writable_kib <= before.writable_kib + allowance_kib,
            "writable memory grew from {} to {} KiB",
            before.writable_kib,
            self.writable_kib
        );
    }
}

/// Length of a line of `/proc/self/maps`, if it is writable.
fn writable_bytes(line: &str) -> Option<u64> {
    let mut words = line.split(' ');
    let (from, to) = words.next()?.split_once('-')?;
    let number = |hex| u64::from_str_radix(hex, 16).ok();
    words.next()?.contains('w').then_some(number(to)? - number(from)?)
}
