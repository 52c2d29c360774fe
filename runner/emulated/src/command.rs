//! `provium host`, the hidden first process inside, and running the present command line inside.
//!
//! Input: parsed arguments. Output: exit codes. Not here: when the emulated host is needed.

use std::env;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use clap::Args;

use crate::availability::cache_folder;
use crate::error::EmulatedError;
use crate::inside;
use crate::live;
use crate::outside::Stdin;
use crate::request::EmulatedRun;
use crate::scratch::Scratch;
use crate::supervise::run;

/// Exit code when the command could not be run to its end.
const EXIT_HARNESS: i32 = 2;

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

/// `provium host`: the command's exit code, or 2 when it could not be run to its end.
pub fn run_host(args: &HostArgs) -> i32 {
    let mut request = EmulatedRun::new(args.command.clone());
    request.writable.clone_from(&args.writable);
    request.memory_mib = args.mem;
    request.cpus = args.cpus;
    request.observer = Box::new(live::observer());
    run(request).unwrap_or_else(|error| {
        eprintln!("provium: {error}");
        EXIT_HARNESS
    })
}

/// `provium emulated-host-init`: never returns in an emulated host; returns 2 elsewhere.
pub fn run_init(_: &InitArgs) -> i32 {
    inside::main()
}

/// Runs this program with `args` in an emulated host, on the KVM there, and returns its exit code.
///
/// `args` are those of the present command line, without the program's name; the first `words` of them name a
/// subcommand. The others come after `--accel kvm --journal FILE`, without an `--accel` of their own. FILE is
/// in a folder that exists during this call and is writable inside, like those in `writable` (except for `/`,
/// which cannot be): when the emulated host freezes, the same command line is started again with the same
/// FILE.
///
/// # Errors
/// [`EmulatedError`]: the command line did not run to its end.
pub fn reexec(args: &[OsString], words: usize, writable: &[PathBuf]) -> Result<i32, EmulatedError> {
    let cache = cache_folder().ok_or_else(|| {
        let reason = "neither HOME nor XDG_CACHE_HOME is set".to_owned();
        EmulatedError::Folder {
            path: "~/.cache".into(),
            reason,
        }
    })?;
    let scratch = Scratch::create(&cache.join("runs"))?;
    let journal = scratch.path().join("journal");
    let (command, args) = args.split_at(words.min(args.len()));
    let mut argv = vec![env::current_exe()?.into_os_string()];
    argv.extend_from_slice(command);
    argv.extend([
        "--accel".into(),
        "kvm".into(),
        "--journal".into(),
        journal.into_os_string(),
    ]);
    argv.extend(without_accel(args));
    let mut request = EmulatedRun::new(argv);
    // A working directory of `/` must not keep a run from starting; nothing is written there.
    request.writable = writable
        .iter()
        .filter(|folder| folder.as_path() != Path::new("/"))
        .cloned()
        .collect();
    request.writable.push(scratch.path().to_owned());
    request.stdin = Stdin::Null;
    request.observer = Box::new(live::observer());
    run(request)
}

/// The arguments without `--accel X` and `--accel=X` before a `--`.
fn without_accel(args: &[OsString]) -> Vec<OsString> {
    let end = args.iter().position(|arg| arg == "--").unwrap_or(args.len());
    let (flags, rest) = args.split_at(end);
    let mut kept = Vec::new();
    let mut flags = flags.iter();
    while let Some(arg) = flags.next() {
        if arg == OsStr::new("--accel") {
            flags.next();
        } else if !arg.as_bytes().starts_with(b"--accel=") {
            kept.push(arg.clone());
        }
    }
    kept.extend_from_slice(rest);
    kept
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Command {
        #[command(flatten)]
        host: HostArgs,
    }

    #[test]
    fn the_commands_own_flags_are_its_own() {
        let parsed = Command::parse_from([
            "host", "--rw", "/a", "--rw=/b", "--mem", "2048", "ls", "--rw", "/c", "-l",
        ]);
        assert_eq!(parsed.host.writable, [PathBuf::from("/a"), PathBuf::from("/b")]);
        assert_eq!(parsed.host.mem, Some(2048));
        assert_eq!(parsed.host.command, ["ls", "--rw", "/c", "-l"]);
        let parsed = Command::parse_from(["host", "--", "--odd", "x"]);
        assert_eq!(parsed.host.command, ["--odd", "x"]);
        for wrong in [
            &["host"][..],
            &["host", "--cpus", "0", "ls"],
            &["host", "--mem", "x", "ls"],
        ] {
            assert!(Command::try_parse_from(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn the_way_to_accelerate_is_decided_here() {
        let of = |args: &[&str]| {
            let args: Vec<_> = args.iter().map(OsString::from).collect();
            without_accel(&args)
                .iter()
                .map(|arg| arg.to_string_lossy().into_owned())
                .collect::<Vec<_>>()
        };
        assert_eq!(of(&["--accel", "tcg", "tests", "-k", "x"]), ["tests", "-k", "x"]);
        assert_eq!(of(&["-v", "--accel=auto", "tests"]), ["-v", "tests"]);
        assert_eq!(of(&["--accel"]), [""; 0]);
        assert_eq!(of(&["--", "--accel", "x"]), ["--", "--accel", "x"]);
    }
}
