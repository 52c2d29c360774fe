//! Running the present command line in the emulated host.
//!
//! Input: a command line and the folders it may write. Output: its exit code, and events on the way. Not
//! here: when the emulated host is needed.

use std::env;
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use provium_base::events::Sink;

use crate::availability::cache_folder;
use crate::error::EmulatedError;
use crate::outside::{Signals, Stdin, Streams};
use crate::request::EmulatedRun;
use crate::scratch::Scratch;
use crate::supervise::run;

/// Runs this program with `args` in an emulated host, on the KVM there, and returns its exit code.
///
/// `args` are those of the present command line, without the program's name; the first `words` of them name a
/// subcommand. The others come after `--accel kvm --journal FILE`, without an `--accel` of their own. FILE is
/// in a folder that exists during this call and is writable inside, like those in `writable` (except for `/`,
/// which cannot be): when the emulated host freezes, the same command line is started again with the same
/// FILE. `streams` take the place of this process's; `signals` are passed on; `sink` hears of every start.
///
/// # Errors
/// [`EmulatedError`]: the command line did not run to its end.
pub fn reexec(
    args: &[OsString],
    words: usize,
    writable: &[PathBuf],
    streams: Option<Streams>,
    signals: Signals,
    sink: &dyn Sink,
) -> Result<i32, EmulatedError> {
    let cache = cache_folder().ok_or_else(|| {
        let reason = "neither HOME nor XDG_CACHE_HOME is set".to_owned();
        EmulatedError::Folder {
            path: "~/.cache".into(),
            reason,
        }
    })?;
    let scratch = Scratch::create(&cache.join("runs"));
    let scratch = scratch.map_err(|source| EmulatedError::Cache { path: cache, source })?;
    let journal = scratch.path().join("journal");
    let argv = command_line(args, words, &["--journal".into(), journal.into_os_string()])?;
    let mut request = EmulatedRun::new(argv, sink);
    // A working directory of `/` must not keep a run from starting; nothing is written there.
    request.writable = writable
        .iter()
        .filter(|folder| folder.as_path() != Path::new("/"))
        .cloned()
        .collect();
    request.writable.push(scratch.path().to_owned());
    request.stdin = Stdin::Null;
    if streams.as_ref().is_some_and(|streams| streams.stdin.is_some()) {
        // What was read of it cannot be given to another start.
        request.limits.starts = 1;
    }
    request.streams = streams;
    request.signals = Some(signals);
    run(request)
}

/// This program's own command line, on the KVM of an emulated host: `args` are those of the present one, of
/// which the first `words` name a subcommand and the others may have an `--accel` of their own.
///
/// # Errors
/// When this program's path cannot be had.
pub fn command_line(args: &[OsString], words: usize, further: &[OsString]) -> io::Result<Vec<OsString>> {
    let (command, args) = args.split_at(words.min(args.len()));
    let mut argv = vec![env::current_exe()?.into_os_string()];
    argv.extend_from_slice(command);
    argv.extend(["--accel".into(), "kvm".into()]);
    argv.extend_from_slice(further);
    argv.extend(without_accel(args));
    Ok(argv)
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
    use super::*;

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
