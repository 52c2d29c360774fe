//! Exec: runs a program to its end.
//!
//! Enters: arguments, environment, folder, standard input, a time limit. Leaves: its output as `Data` while it
//! runs, then how it ended. The input is taken in whole before the program starts, so that a host may send all
//! of it first and only then read. Absent on purpose: terminals, users, limits; a program that needs those is
//! run by one that makes them.

mod command;
mod pump;
mod spawn;

use std::time::{Duration, Instant};

use provium_protocol::{Exec, Response};
use rustix::fd::OwnedFd;
use rustix::fs::{CWD, Mode, OFlags};
use rustix::io::Errno;
use rustix::pipe::{PipeFlags, pipe_with};

use super::body::Body;
use super::{Failure, failed};
use crate::session::Session;
use command::Command;
use pump::{Feed, Pump};

pub(super) fn exec(session: &mut Session<'_>, mut exec: Exec) -> Result<Response, Failure> {
    let input = exec
        .has_stdin
        .then(|| Feed::receive(&mut Body::new(&mut session.stream)))
        .transpose()?;
    let timeout = exec.timeout_ms.take().map(Duration::from_millis);
    let command = Command::new(exec)?;
    let pipes = |errno| failed("exec: cannot make its pipes", errno);

    let (stdin, feed) = match input {
        None => (no_input().map_err(pipes)?, None),
        Some(input) => {
            let (reader, writer) = pipe().map_err(pipes)?;
            (reader, Some(input.into_pipe(writer).map_err(pipes)?))
        }
    };
    let (stdout, child_stdout) = pipe().map_err(pipes)?;
    let (stderr, child_stderr) = pipe().map_err(pipes)?;
    for reader in [&stdout, &stderr] {
        rustix::fs::fcntl_setfl(reader, OFlags::NONBLOCK).map_err(pipes)?;
    }
    let started = Instant::now();
    let child = spawn::spawn(&command.plan([&stdin, &child_stdout, &child_stderr]))
        .map_err(|error| command.explain(error))?;
    drop((stdin, child_stdout, child_stderr));
    let exited = Pump::new(child, feed, [stdout, stderr], started, timeout).run(session)?;
    Ok(Response::Exited(exited))
}

/// An empty standard input. A guest, or a folder a test has made its root, may lack `/dev/null`; a pipe nobody
/// writes to is as empty.
fn no_input() -> Result<OwnedFd, Errno> {
    let null = rustix::fs::openat(CWD, c"/dev/null", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty());
    null.or_else(|_| pipe().map(|(reader, _)| reader))
}

fn pipe() -> Result<(OwnedFd, OwnedFd), Errno> {
    pipe_with(PipeFlags::CLOEXEC)
}
