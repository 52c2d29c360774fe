//! What the host can ask for, one file each.
//!
//! Enters: a [`Request`] and the session it came by, for bodies and output. Leaves: a [`Response`] or a
//! [`Failure`]. Absent on purpose: replies; the session sends them, so that no op can send two or none.

mod body;
pub(crate) mod calls;
mod exec;
pub(crate) mod files;
mod folders;
mod read_file;
pub(crate) mod resumed;
pub(crate) mod started;
mod stat;
mod syscall;
mod write_file;

use std::borrow::Cow;
use std::fmt::Display;
use std::io;

use provium_protocol::{Follow, FrameError, OpError, Request, Response};
use rustix::io::Errno;

use crate::session::{Session, SessionError, Then};
use crate::{follow, worker};

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
pub(crate) fn handle(session: &mut Session, request: Request) -> Result<Response, Failure> {
    match request {
        Request::Ping => Ok(Response::Done),
        Request::Shutdown { .. } if session.agent.is_worker => {
            Err(impossible("a worker cannot end the machine; ask the agent itself").into())
        }
        Request::Shutdown { reboot } => {
            session.then(Then::ShutDown { reboot });
            Ok(Response::Done)
        }
        Request::Exec(exec) => exec::exec(session, exec),
        Request::ReadFile { path } => read_file::read_file(session, &path),
        Request::WriteFile { path, perm } => write_file::write_file(session, &path, perm),
        Request::Stat { path, follow } => Ok(stat::stat(&path, follow)?),
        Request::Syscall(call) => Ok(syscall::syscall(call)?),
        Request::Resumed(resumed) => Ok(resumed::resumed(&session.agent.random, &resumed)?),
        Request::Start(exec) => started::start(session, exec),
        Request::WaitProcess(wait) => started::wait(session, wait),
        Request::ProcessState { handle } => started::state(session, handle),
        Request::SignalProcess { handle, signal } => started::signal(session, handle, signal),
        Request::WriteStdin { handle } => started::write_stdin(session, handle),
        Request::CloseStdin { handle } => started::close_stdin(session, handle),
        Request::BeginEndProcess { handle } => started::begin_end(session, handle),
        Request::EndProcess { handle } => started::end(session, handle),
        Request::SignalProcesses { signal } => started::signal_all(session, signal),
        Request::JoinProcesses => started::join(session),
        Request::OpenFile(open) => files::open(session, &open),
        Request::ReadFd { fd, max } => files::read(session, fd, max),
        Request::WriteFd { fd } => files::write(session, fd),
        Request::SeekFd { fd, offset, whence } => files::seek(fd, offset, whence),
        Request::CloseFd { fd } => files::close(session, fd),
        Request::ListDir { path } => folders::list(session, &path),
        Request::MakeDir { path, parents, perm } => Ok(folders::make(&path, parents, perm)?),
        Request::Unlink { path } => Ok(folders::unlink(&path)?),
        Request::Rename { from, to } => Ok(folders::rename(&from, &to)?),
        Request::StartSyscall(call) => Ok(calls::start(session, call)?),
        Request::WaitSyscall { handle, timeout_ms } => calls::wait(session, handle, timeout_ms),
        Request::Follow(what) => follow(session, what),
        Request::Park => {
            let ticket = session.agent.parked.park(&session.stream);
            let ticket = ticket.map_err(|errno| failed("keep the connection for a worker", errno))?;
            session.then(Then::Leave);
            Ok(Response::Parked { ticket })
        }
        Request::SpawnWorker { ticket, thread } => Ok(worker::spawn(session, ticket, thread)?),
    }
}

/// Begins a stream.
fn follow(session: &mut Session, what: Follow) -> Result<Response, Failure> {
    let source = match what {
        Follow::File { path, start } => follow::file(&path, start)?,
        Follow::Fd { fd } => follow::fd(fd)?,
        Follow::Output { handle, stderr, from } => {
            follow::output(&started::find(session, handle)?, stderr, from)?
        }
    };
    let offset = source.offset();
    session.then(Then::Follow(source));
    Ok(Response::Following { offset })
}

/// The error of a kernel call: what was tried, then the kernel's words.
pub(crate) fn failed(what: impl Display, errno: Errno) -> OpError {
    OpError {
        errno: Some(errno.raw_os_error()),
        message: format!("{what}: {}", errno_text(errno)),
    }
}

/// The error of a request that cannot be tried.
pub(crate) fn impossible(why: impl Into<String>) -> OpError {
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
pub(crate) fn shown(bytes: &[u8]) -> Cow<'_, str> {
    String::from_utf8_lossy(bytes)
}
