//! A program with its pipes, about to run.
//!
//! Input: a command and its standard input.
//! Output: a [`Pump`] for the child; pipes for standard input.
//! Not here: who takes the output; see `pump`.

use std::time::Instant;

use provium_protocol::OpError;
use rustix::fd::OwnedFd;
use rustix::fs::OFlags;
use rustix::io::Errno;
use rustix::pipe::PipeFlags;

use super::command::Command;
use super::pump::Pump;
use super::spawn;
use crate::fds;

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

/// A pipe for a program's standard input: the program's end, and the agent's end, which does not block.
pub(crate) fn input_pipe() -> Result<(OwnedFd, OwnedFd), Errno> {
    let (reader, writer) = fds::pipe(PipeFlags::empty())?;
    rustix::fs::fcntl_setfl(&writer, OFlags::NONBLOCK)?;
    Ok((reader, writer))
}
