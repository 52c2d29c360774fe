//! This command, run again in a process of its own.
//!
//! Input: its command line. Output: its report, line by line, and its exit code. Not here: who does that,
//! and why (`matrix`, `bisect`).

use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::sync::Arc;

use provium_base::cancel::Cancel;
use provium_base::exit;
use rustix::process::{Pid, Signal, kill_process, kill_process_group};

use super::interrupt;

/// Runs the command to its end, which is this one with other arguments; `line` is given each line of its
/// report. Returns its exit code. What cancels `cancel` interrupts it.
///
/// # Errors
/// The system's, and those of `line`.
pub(super) fn again(
    mut command: Command,
    cancel: &Arc<Cancel>,
    mut line: impl FnMut(&str) -> anyhow::Result<()>,
) -> anyhow::Result<u8> {
    // Ctrl-C is passed on, once; a terminal would give it to both.
    let mut child = command.process_group(0).stdout(Stdio::piped()).spawn()?;
    let pid = Pid::from_child(&child);
    interrupt::at_once(move || {
        let _ = kill_process_group(pid, Signal::KILL);
    });
    let told = cancel.on_cancel(Box::new(move || {
        let _ = kill_process(pid, Signal::INT);
    }));
    let stdout = child.stdout.take().expect("it is piped");
    for text in BufReader::new(stdout).lines() {
        line(&text?)?;
    }
    let status = child.wait()?;
    drop(told);
    interrupt::at_once(|| {});
    Ok(status
        .code()
        .and_then(|code| u8::try_from(code).ok())
        .unwrap_or(exit::INTERRUPTED))
}
