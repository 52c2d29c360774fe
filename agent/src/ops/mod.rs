//! What the host can ask for, one file each.
//!
//! Enters: a [`Request`] and the session it came by, for bodies and output. Leaves: a [`Response`] or a
//! [`Failure`]. Absent on purpose: replies; the session sends them, so that no op can send two or none.

mod body;
mod exec;
mod read_file;
pub(crate) mod resumed;
mod stat;
mod syscall;
mod write_file;

use std::borrow::Cow;
use std::fmt::Display;
use std::io;

use provium_protocol::{FrameError, OpError, Request, Response};
use rustix::io::Errno;

use crate::session::{Session, SessionError};

/// Why there is no response.
#[derive(Debug)]
pub(crate) enum Failure {
    /// It was tried and failed; the session goes on.
    Op(OpError),
    /// The session is over.
    Session(SessionError),
}

impl From<OpError> for Failure {
    fn from(error: OpError) -> Failure {
        Failure::Op(error)
    }
}

impl From<SessionError> for Failure {
    fn from(error: SessionError) -> Failure {
        Failure::Session(error)
    }
}

impl From<FrameError> for Failure {
    fn from(error: FrameError) -> Failure {
        Failure::Session(error.into())
    }
}

/// Does what is asked for.
pub(crate) fn handle(session: &mut Session<'_>, request: Request) -> Result<Response, Failure> {
    match request {
        // The session starts the shutdown when the reply is out.
        Request::Ping | Request::Shutdown { .. } => Ok(Response::Done),
        Request::Exec(exec) => exec::exec(session, exec),
        Request::ReadFile { path } => read_file::read_file(session, &path),
        Request::WriteFile { path, perm } => write_file::write_file(session, &path, perm),
        Request::Stat { path, follow } => Ok(stat::stat(&path, follow)?),
        Request::Syscall(call) => Ok(syscall::syscall(call)?),
        Request::Resumed(resumed) => Ok(resumed::resumed(&resumed)?),
        other => Err(impossible(format!("not done yet: {other:?}")).into()),
    }
}

/// The error of a kernel call: what was tried, then the kernel's words.
fn failed(what: impl Display, errno: Errno) -> OpError {
    OpError {
        errno: Some(errno.raw_os_error()),
        message: format!("{what}: {}", errno_text(errno)),
    }
}

/// The error of a request that cannot be tried.
fn impossible(why: impl Into<String>) -> OpError {
    OpError {
        errno: None,
        message: why.into(),
    }
}

/// The kernel's words for an error number, as `strerror` has them.
pub(crate) fn errno_text(errno: Errno) -> String {
    let mut text = io::Error::from(errno).to_string();
    if let Some(end) = text.rfind(" (os error") {
        text.truncate(end);
    }
    text
}

/// A path or argument for a message.
fn shown(bytes: &[u8]) -> Cow<'_, str> {
    String::from_utf8_lossy(bytes)
}
