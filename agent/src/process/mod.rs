//! Programs: how they are started, and what goes between them and the host.
//!
//! ```text
//! Exec  ─ command ─ spawn ─ pump ─ the session itself          ops/exec.rs
//! Start ─ command ─ spawn ─ pump ─ Program: input, kept output  program.rs, input.rs, kept.rs
//! ```
//!
//! Enters: what to run. Leaves: output, and how it ended. One pump serves both: for `Exec` it runs on the session's
//! thread and passes output on, for `Start` on a thread of the program's own and keeps it. Absent on purpose:
//! terminals, users, limits; a program that needs those is run by one that makes them.

pub(crate) mod bell;
pub(crate) mod command;
pub(crate) mod input;
pub(crate) mod kept;
pub(crate) mod program;
pub(crate) mod pump;
mod spawn;
pub(crate) mod table;

use std::time::Instant;

use rustix::fd::OwnedFd;
use rustix::fs::OFlags;
use rustix::io::Errno;
use rustix::pipe::PipeFlags;

use crate::fds;
use command::Command;
use provium_protocol::OpError;
use pump::Pump;

/// Starts a program with this standard input.
pub(crate) fn launch(command: &Command, stdin: &OwnedFd) -> Result<Pump, OpError> {
    let pipes = |errno| command.failed("cannot make its pipes", errno);
    let (stdout, child_stdout) = fds::pipe(PipeFlags::empty()).map_err(pipes)?;
    let (stderr, child_stderr) = fds::pipe(PipeFlags::empty()).map_err(pipes)?;
    for reader in [&stdout, &stderr] {
        rustix::fs::fcntl_setfl(reader, OFlags::NONBLOCK).map_err(pipes)?;
    }
    let started = Instant::now();
    let child = spawn::spawn(&command.plan([stdin, &child_stdout, &child_stderr]))
        .map_err(|error| command.explain(error))?;
    Ok(Pump::new(child, [stdout, stderr], started))
}

/// A pipe for a program's standard input: its end, and ours, which does not block.
pub(crate) fn input_pipe() -> Result<(OwnedFd, OwnedFd), Errno> {
    let (reader, writer) = fds::pipe(PipeFlags::empty())?;
    rustix::fs::fcntl_setfl(&writer, OFlags::NONBLOCK)?;
    Ok((reader, writer))
}
