//! One test in a process of its own, with a time limit.
//!
//! Input: a libtest binary and a test's name. Output: whether it passed, and all it printed. Whatever the
//! test leaves running in its process group is killed.

use std::io::Read;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use rustix::process::{Pid, Signal, kill_process_group};

/// How often to look whether the test has ended.
const POLL: Duration = Duration::from_millis(10);
/// How long to wait for output after the end: only a process that left the group can hold it open.
const DRAIN: Duration = Duration::from_secs(2);
/// How much of a test's output is kept: its end, in bytes.
const KEPT: usize = 64 << 10;

/// One attempt at a test.
#[derive(Debug)]
pub(crate) struct Attempt {
    /// Whether it passed.
    pub(crate) passed: bool,
    /// What it printed, stdout and stderr as they came; on a failure the last line says how it ended.
    pub(crate) output: String,
}

/// Runs test `name` of `binary`.
///
/// # Errors
/// When the binary cannot be started.
pub(crate) fn attempt(binary: &Path, name: &str, limit: Duration) -> Result<Attempt> {
    let mut command = Command::new(binary);
    command.args(["--exact", name, "--nocapture", "--test-threads=1"]);
    let (end, mut output) = run(&mut command, limit)?;
    // A name that matches nothing ends with success too; only the count says that the test ran.
    let passed = end.is_ok_and(|status| status.success()) && output.contains("test result: ok. 1 passed;");
    if !passed {
        let how = match end {
            Ok(status) => format!("the test's process ended with {status}"),
            Err(limit) => format!("killed: it ran longer than {} s", limit.as_secs()),
        };
        output = format!("{}\n{how}\n", output.trim_end());
    }
    Ok(Attempt { passed, output })
}

/// Runs a program to its end (`Ok`) or to the limit (`Err`), and returns what it printed.
fn run(command: &mut Command, limit: Duration) -> Result<(Result<ExitStatus, Duration>, String)> {
    let (reader, writer) = std::io::pipe().context("make a pipe")?;
    command
        .stdin(Stdio::null())
        .stdout(writer.try_clone()?)
        .stderr(writer)
        .process_group(0);
    let mut child = command
        .spawn()
        .with_context(|| format!("start {}", command.get_program().display()))?;
    // The command holds this side's ends of the pipe; with them open the reader would never see its end.
    command.stdout(Stdio::null()).stderr(Stdio::null());
    let output = collect(reader);

    let begin = Instant::now();
    let end = loop {
        if let Some(status) = child.try_wait().context("wait for the test")? {
            break Ok(status);
        }
        if begin.elapsed() >= limit {
            break Err(limit);
        }
        std::thread::sleep(POLL);
    };
    let group = Pid::from_child(&child);
    // An error means that nothing is left of the group.
    let _ = kill_process_group(group, Signal::KILL);
    if end.is_err() {
        child.wait().context("wait for the killed test")?;
    }
    let mut kept = Vec::new();
    let deadline = Instant::now() + DRAIN;
    while let Ok(bytes) = output.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
        kept.extend_from_slice(&bytes);
    }
    let from = kept.len().saturating_sub(KEPT);
    Ok((end, String::from_utf8_lossy(&kept[from..]).into_owned()))
}

/// Reads until the end on a thread, so that a full pipe never blocks the test.
fn collect(mut reader: std::io::PipeReader) -> mpsc::Receiver<Vec<u8>> {
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || {
        let mut buffer = vec![0; 16 << 10];
        while let Ok(count @ 1..) = reader.read(&mut buffer) {
            if sender.send(buffer[..count].to_vec()).is_err() {
                break;
            }
        }
    });
    receiver
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(line: &str, limit: Duration) -> (Result<ExitStatus, Duration>, String, Duration) {
        let begin = Instant::now();
        let (end, output) = run(Command::new("sh").args(["-c", line]), limit).unwrap();
        (end, output, begin.elapsed())
    }

    const LONG: Duration = Duration::from_secs(60);

    #[test]
    fn both_streams_are_kept_in_order() {
        let (end, output, _) = shell("echo one; echo two >&2; echo three; exit 3", LONG);
        assert_eq!(
            (end.unwrap().code(), output.as_str()),
            (Some(3), "one\ntwo\nthree\n")
        );
    }

    #[test]
    fn a_test_past_its_limit_is_killed_with_all_it_started() {
        let marker = tempfile::NamedTempFile::new().unwrap();
        let line = format!(
            "(sleep 1; echo alive >{}) & echo begun; sleep 60",
            marker.path().display()
        );
        let (end, output, took) = shell(&line, Duration::from_millis(300));
        assert!(end.is_err() && took < Duration::from_secs(10), "{took:?}");
        assert_eq!(output, "begun\n");
        std::thread::sleep(Duration::from_millis(1200));
        assert_eq!(std::fs::read_to_string(marker.path()).unwrap(), "");
    }

    #[test]
    fn a_background_process_does_not_hold_up_the_end() {
        let (end, output, took) = shell("sleep 60 & echo done", LONG);
        assert!(
            end.unwrap().success() && took < Duration::from_secs(10),
            "{took:?}"
        );
        assert_eq!(output, "done\n");
    }

    #[test]
    fn much_output_keeps_its_end() {
        let (_, output, _) = shell("head -c 1000000 /dev/zero | tr '\\0' x; echo last", LONG);
        assert!(output.len() <= KEPT && output.ends_with("xlast\n"));
    }

    #[test]
    fn this_very_binary_shows_what_passes_and_what_only_seems_to() {
        let binary = std::env::current_exe().unwrap();
        let passed = attempt(
            &binary,
            "kvm::process::tests::both_streams_are_kept_in_order",
            LONG,
        )
        .unwrap();
        assert!(passed.passed, "{}", passed.output);
        let missing = attempt(&binary, "no::such::test", LONG).unwrap();
        assert!(
            !missing.passed && missing.output.contains("ended with"),
            "{}",
            missing.output
        );
    }
}
