//! Arguments of the commands about hosts: `provium doctor`, `provium host`; and `--accel`.
//!
//! Input: the process's arguments. Output: [`DoctorArgs`], [`HostArgs`]. Not here: what becomes of them.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::builder::PossibleValue;
use clap::{Args, ValueEnum, ValueHint};

use crate::doctor::Accel;

/// Says what this host can do: KVM, and if that is not sound why not, the emulated host, cores, memory.
///
/// Exit code 0 when tests can run here in some way, 2 otherwise.
///
/// With --kernel, says what a kernel has of what guests need, feature by feature, by the configuration in it
/// or beside it. Exit code 0 when guests run on it, 1 when they do not, 2 when there is no telling.
#[derive(Debug, Clone, Default, PartialEq, Eq, Args)]
pub struct DoctorArgs {
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
    /// Look at this kernel in place of this host: a bzImage, a vmlinux, a build tree or a .config
    #[arg(long, value_name = "FILE|DIR", value_hint = ValueHint::AnyPath)]
    pub kernel: Option<PathBuf>,
    /// Its modules, a folder lib/modules/VERSION [default: those that lie beside it]
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath, requires = "kernel")]
    pub modules: Option<PathBuf>,
    /// Print what is lacking as a fragment for the kernel's scripts/kconfig/merge_config.sh; exit code 0
    #[arg(long, requires = "kernel", conflicts_with = "json")]
    pub merge: bool,
}

/// Runs a command on an emulated host that has a sound KVM.
///
/// The command sees this machine's files at their places and runs as the same user, in the same folder, with
/// the same environment. What it writes is lost, but for the folders given by --rw. When the emulated host
/// freezes, the command is started again from its beginning; PROVIUM_HOST_ATTEMPT tells it which start this
/// is.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct HostArgs {
    /// A folder that the command may write; can be given several times
    #[arg(long = "rw", value_name = "DIR")]
    pub writable: Vec<PathBuf>,
    /// Memory of the emulated host in MiB [default: 6144, or 60 % of what is available]
    #[arg(long, value_name = "MIB")]
    pub mem: Option<u64>,
    /// Its CPUs; with more than one, QEMU 7.2 freezes now and then
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=8))]
    pub cpus: u8,
    /// The command and its arguments
    #[arg(
        required = true,
        trailing_var_arg = true,
        allow_hyphen_values = true,
        value_name = "COMMAND"
    )]
    pub command: Vec<OsString>,
}

/// The first process of an emulated host; of no use elsewhere.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct InitArgs {}

impl ValueEnum for Accel {
    fn value_variants<'a>() -> &'a [Accel] {
        &[Accel::Auto, Accel::Kvm, Accel::Tcg]
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        Some(match self {
            Accel::Auto => PossibleValue::new("auto").help("KVM where it is sound, else the emulated host"),
            Accel::Kvm => PossibleValue::new("kvm").help("KVM of this host, or not at all"),
            Accel::Tcg => PossibleValue::new("tcg").help("The emulated host, even where KVM is sound"),
        })
    }
}
