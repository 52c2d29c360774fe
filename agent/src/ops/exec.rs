//! Exec: runs a program to its end.
//!
//! Input: arguments, environment, folder, standard input, a time limit. Standard input is taken in whole
//! before the program starts, so that a host may send all of it first and only then read.
//! Output: the program's output as `Data` while it runs, then how it ended.
//! Not here: anything that goes on after the reply; that is `Start`.

use std::time::Duration;

use provium_protocol::{Exec, Exited, FrameError, Response, STDERR, STDOUT, write_data};
use rustix::event::{PollFd, PollFlags};
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{CWD, Mode, OFlags};
use rustix::io::Errno;

use crate::connection::{Body, SessionError};
use crate::failure::Failure;
use crate::fds;
use crate::process::child::Child;
use crate::process::command::Command;
use crate::process::input::Input;
use crate::process::launch::{input_pipe, launch};
use crate::process::pump::{Peer, READ, Taken};
use crate::session::Session;

pub(crate) fn exec(session: &mut Session, mut exec: Exec) -> Result<Response, Failure> {
    let body = match exec.has_stdin {
        true => Some(Body::new(&session.stream).all()?),
        false => None,
    };
    let timeout = exec.timeout_ms.take().map(Duration::from_millis);
    let command = Command::new(exec)?;
    let pipes = |errno| command.failed("cannot make its pipes", errno);
    let (stdin, input) = match body {
        None => (no_input().map_err(pipes)?, None),
        Some(pieces) => {
            let (reader, writer) = input_pipe().map_err(pipes)?;
            let mut input = Input::new(writer);
            // While we have the reading end, it can only be full.
            let _ = pieces.into_iter().try_for_each(|piece| input.push(piece));
            input.close();
            (reader, Some(input))
        }
    };
    let mut pump = launch(&command, &stdin)?;
    drop(stdin);
    if let Some(timeout) = timeout {
        pump.time_out_after(timeout);
    }
    session.scratch.resize(session.scratch.len().max(READ), 0);
    let agent = session.agent.clone();
    let exited = pump.run(&mut SessionPeer { session, input }, &agent.supervisor)?;
    Ok(Response::Exited(exited))
}

/// An empty standard input. A guest, or a folder a test has made its root, may lack `/dev/null`; a pipe
/// nobody writes to is as empty.
fn no_input() -> Result<OwnedFd, Errno> {
    let null = || rustix::fs::openat(CWD, c"/dev/null", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty());
    fds::own(null).or_else(|_| input_pipe().map(|(reader, _)| reader))
}

/// The session as the one a program runs for: output goes to the host as it comes.
struct SessionPeer<'s> {
    session: &'s mut Session,
    input: Option<Input>,
}

impl Peer for SessionPeer<'_> {
    type Lost = SessionError;

    /// The host sends nothing before the reply; only its end is of interest.
    fn wakeup(&self) -> PollFd<'_> {
        PollFd::new(&self.session.stream, PollFlags::RDHUP)
    }

    fn woken(&mut self, _child: &mut Child) -> Result<(), SessionError> {
        Err(FrameError::Closed.into())
    }

    fn input(&self) -> Option<impl AsFd> {
        self.input.as_ref().and_then(Input::waiting)
    }

    fn feed(&mut self) {
        if let Some(input) = &mut self.input {
            input.flush();
        }
    }

    fn takes(&self, _output: usize) -> bool {
        true
    }

    fn take(&mut self, output: usize, pipe: &OwnedFd) -> Result<Taken, SessionError> {
        let read = rustix::io::read(pipe, &mut self.session.scratch[..READ]);
        if let Ok(n) = read {
            let channel = [STDOUT, STDERR][output];
            write_data(&mut self.session.stream, channel, &self.session.scratch[..n])?;
        }
        Ok(Taken::of(&read))
    }

    /// Input that is left has nobody to go to.
    fn ended(&mut self, _exited: &Exited) {
        self.input = None;
    }
}
