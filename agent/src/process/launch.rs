//! A program with its pipes or its terminal, about to run.
//!
//! Input: a command, and its standard input or what its terminal is for.
//! Output: a [`Pump`] for the child; the agent's end of standard input.
//! Not here: who takes the output; see `pump`.

use std::time::Instant;

use provium_protocol::{OpError, Terminal};
use rustix::fd::OwnedFd;
use rustix::fs::OFlags;
use rustix::io::Errno;
use rustix::pipe::PipeFlags;

use super::command::Command;
use super::input::Input;
use super::pty::{self, Pty};
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
    let child = spawn::spawn(&command.plan([stdin, &child_stdout, &child_stderr], None))
        .map_err(|error| command.explain(error))?;
    Ok(Pump::new(child, [Some(stdout), Some(stderr)], started))
}

/// Starts a program that has a terminal; returns the agent's end of its standard input as well.
pub(crate) fn launch_on(command: &Command, terminal: &Terminal) -> Result<(Pump, Input, OwnedFd), OpError> {
    let failed = |errno| command.failed("cannot make its terminal", errno);
    let Pty { master, child } = pty::open(terminal).map_err(failed)?;
    let pipes = |errno| command.failed("cannot make its pipes", errno);
    // The program's end, and the agent's: the terminal's where the stream is that.
    let output = |is_terminal: bool| match is_terminal {
        true => Ok((fds::copy(&master)?, fds::copy(&child)?)),
        false => {
            let (reader, writer) = fds::pipe(PipeFlags::empty())?;
            rustix::fs::fcntl_setfl(&reader, OFlags::NONBLOCK)?;
            Ok((reader, writer))
        }
    };
    let (stdin, input) = match terminal.stdin {
        true => (
            fds::copy(&child).map_err(pipes)?,
            fds::copy(&master).map_err(pipes)?,
        ),
        false => input_pipe().map_err(pipes)?,
    };
    let (stdout, child_stdout) = output(terminal.stdout).map_err(pipes)?;
    let (stderr, child_stderr) = output(terminal.stderr).map_err(pipes)?;
    let started = Instant::now();
    let plan = command.plan([&stdin, &child_stdout, &child_stderr], Some(&child));
    let process = spawn::spawn(&plan).map_err(|error| command.explain(error))?;
    // What both are is read once.
    let stderr = (!(terminal.stdout && terminal.stderr)).then_some(stderr);
    let pump = Pump::new(process, [Some(stdout), stderr], started);
    let input = match terminal.stdin {
        true => Input::typed(input),
        false => Input::new(input),
    };
    Ok((pump, input, master))
}

/// A pipe for a program's standard input: the program's end, and the agent's end, which does not block.
pub(crate) fn input_pipe() -> Result<(OwnedFd, OwnedFd), Errno> {
    let (reader, writer) = fds::pipe(PipeFlags::empty())?;
    rustix::fs::fcntl_setfl(&writer, OFlags::NONBLOCK)?;
    Ok((reader, writer))
}
