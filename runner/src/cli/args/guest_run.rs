//! Arguments of `provium run`: what boots, and the command in it.
//!
//! Input: the process's arguments. Output: [`GuestRunArgs`]. Not here: which kernel a folder has, what a
//! profile says, and what the exit codes are; `guest_run` knows.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueHint};
use provium_base::units;
use provium_guest::ShareMode;

use crate::doctor::Accel;

/// Boots a guest and runs one command in it, or a shell.
///
/// The command has this process's standard input, output and error, a terminal where they are one, the
/// signals that this process is sent, and its exit code is this process's. A project is used where there is
/// one, and needed for PROFILE and --fixture alone.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  provium run -k . -- uname -a              the kernel of this build tree
  provium run minimal -- cat /proc/cmdline  a profile of provium.toml
  provium run -k bzImage                    a shell
  provium run -k . --rootfs host -- ./tool   this machine's programs and this folder, on that kernel
  provium run --fixture login -- ps         a fixture's guest, where it was saved

Exit codes: the command's own, 128+N if signal N ended it; 120 the kernel panicked or the machine died, 121 it
reported a fault of its own (an oops, BUG, WARNING, a sanitizer's report), 122 it hung, 124 --timeout passed, 125 the
guest could not be run, 126 the command cannot be executed, 127 there is no such command; 2 usage.")]
pub struct GuestRunArgs {
    /// A profile of provium.toml [default: the only one]
    #[arg(value_name = "PROFILE")]
    pub profile: Option<String>,
    /// The command and its arguments [default: /bin/sh]
    #[arg(last = true, value_name = "CMD")]
    pub command: Vec<OsString>,

    /// The kernel, a bzImage or vmlinux, or a build tree of one; in place of PROFILE's where both are given
    #[arg(short, long, value_name = "FILE|DIR", value_hint = ValueHint::AnyPath, help_heading = "Guest")]
    pub kernel: Option<PathBuf>,
    /// A disk image, or a folder to make one of, that becomes /; `host` is this machine's own, read-only
    /// below the guest's memory, with the current folder
    #[arg(long, value_name = "host|DIR|IMAGE", value_hint = ValueHint::AnyPath, help_heading = "Guest")]
    pub rootfs: Option<PathBuf>,
    /// A folder of this machine for the guest, at GUEST or where it is here; MODE is ro (the default), rw or
    /// overlay; can be given several times
    #[arg(long, value_name = "HOST[:GUEST[:MODE]]", value_parser = share, help_heading = "Guest")]
    pub share: Vec<ShareArg>,
    /// The initramfs [default: without --rootfs, one of this machine's static busybox]
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, help_heading = "Guest")]
    pub initrd: Option<PathBuf>,
    /// A fixture of one VM, which goes on where it was saved, in place of a boot
    #[arg(
        long,
        value_name = "NAME",
        conflicts_with_all = ["profile", "kernel", "rootfs", "initrd", "append", "memory", "cpus", "share"],
        help_heading = "Guest"
    )]
    pub fixture: Option<String>,
    /// Words behind the kernel's command line; can be given several times
    #[arg(long, value_name = "ARGS", allow_hyphen_values = true, help_heading = "Guest")]
    pub append: Vec<String>,
    /// Memory, such as 1G [default: the profile's, or 512M]
    #[arg(long, value_name = "SIZE", value_parser = memory, help_heading = "Guest")]
    pub memory: Option<u64>,
    /// vCPUs [default: the profile's, or 1]
    #[arg(long, value_name = "N", value_parser = cpus, help_heading = "Guest")]
    pub cpus: Option<u8>,

    /// Time limit of boot and command together, such as 90s or 5m
    #[arg(long, value_name = "DURATION", value_parser = units::parse_duration, help_heading = "Run")]
    pub timeout: Option<Duration>,
    /// Show the kernel's console on stderr as it prints
    #[arg(long, help_heading = "Run")]
    pub console: bool,
    /// Where the guest runs
    #[arg(long, value_name = "HOW", default_value = "auto", help_heading = "Run")]
    pub accel: Accel,
    /// The configuration [default: provium.toml here or in a parent folder]
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, help_heading = "Project")]
    pub config: Option<PathBuf>,
}

/// A folder for the guest, as it is written.
#[derive(Debug, Clone)]
pub struct ShareArg {
    /// The folder, relative to the current one.
    pub host: PathBuf,
    /// Its place in the guest; where it is here without.
    pub guest: Option<String>,
    /// What the guest may do with it.
    pub mode: ShareMode,
}

fn share(text: &str) -> Result<ShareArg, String> {
    let mut parts = text.split(':');
    let host = parts
        .next()
        .filter(|host| !host.is_empty())
        .ok_or("it names no folder")?;
    let guest = parts.next().filter(|guest| !guest.is_empty()).map(str::to_owned);
    let mode = parts.next().map_or(Ok(ShareMode::default()), str::parse)?;
    match parts.next() {
        None => Ok(ShareArg {
            host: host.into(),
            guest,
            mode,
        }),
        Some(_) => Err("expected HOST, HOST:GUEST or HOST:GUEST:MODE".to_owned()),
    }
}

fn memory(text: &str) -> Result<u64, String> {
    let bytes = units::parse_size(text).map_err(|error| error.to_string())?;
    crate::config::check_memory(bytes)
}

fn cpus(text: &str) -> Result<u8, String> {
    let count = text.parse().map_err(|_| "not a whole number".to_owned())?;
    crate::config::check_cpus(count)
}
