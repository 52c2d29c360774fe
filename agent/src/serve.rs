//! Requests of a session, one after the other.
//!
//! All of them run on the thread that calls [`Session::run`], one at a time, so that what the kernel keeps
//! per thread (credentials, namespaces) stays from one to the next.
//!
//! Input: a session.
//! Output: replies on its connection, until the host closes it or breaks the protocol. The replies are sent
//! in one place, so that no op can send two or none.
//! Not here: what a request does (`ops`).

use provium_protocol::{
    Follow, Frame, FrameError, OpError, Reply, Request, Response, read_frame, write_frame,
};

use crate::connection::SessionError;
use crate::console::say;
use crate::failure::{Failure, errno_text, failed, impossible};
use crate::ops::{
    attach, attributes, exec, files, folders, links, read_file, resumed, started, stat, syscall, write_file,
};
use crate::session::{AfterReply, Session};
use crate::{estate, follow, worker};

impl Session {
    /// Waits for the host's welcome and does what it asks for; returns when the host has closed the session.
    pub fn run(mut self) -> Result<(), SessionError> {
        self.wait_for_welcome()?;
        serve(self)
    }
}

/// Does what the host asks for until it closes the session.
pub(crate) fn serve(mut session: Session) -> Result<(), SessionError> {
    let _watched = estate::watch(&session);
    loop {
        match read_frame(&mut session.stream) {
            Ok(Frame::Request(request)) => {
                let reply = answer(&mut session, request)?;
                send(&mut session, reply)?;
                match session.take_after_reply() {
                    None => {}
                    Some(AfterReply::ShutDown { reboot }) => session.agent.supervisor.shut_down(reboot),
                    // There is nothing to come back for: the host hangs up when it has had enough.
                    Some(AfterReply::Follow(mut source)) => {
                        return follow::send::run(&session.stream, &mut *source);
                    }
                    Some(AfterReply::Attach(attached)) => {
                        let reply = attach::run(&mut session, &attached)?;
                        return send(&mut session, reply);
                    }
                    Some(AfterReply::Leave) => return Ok(()),
                }
            }
            Ok(other) => return Err(SessionError::unexpected(&other, "a request")),
            Err(FrameError::Closed) => return Ok(()),
            Err(error) => return Err(error.into()),
        }
    }
}

fn answer(session: &mut Session, request: Request) -> Result<Reply, SessionError> {
    if let (Some(root), false) = (&session.agent.init_root, matches!(request, Request::Ping))
        && let Err(error) = root.follow()
    {
        say!("cannot follow PID 1 to its new root: {}", errno_text(error));
    }
    match handle(session, request) {
        Ok(response) => Ok(Ok(response)),
        Err(Failure::Op(error)) => Ok(Err(error)),
        Err(Failure::Session(error)) => Err(error),
    }
}

/// Does what is asked for: the one place where a request finds its op.
fn handle(session: &mut Session, request: Request) -> Result<Response, Failure> {
    match request {
        Request::Ping => Ok(Response::Done),
        Request::Shutdown { .. } if session.agent.is_worker => {
            Err(impossible("a worker cannot end the machine; ask the agent itself").into())
        }
        Request::Shutdown { reboot } => {
            session.after_reply(AfterReply::ShutDown { reboot });
            Ok(Response::Done)
        }
        Request::Exec(exec) => exec::exec(session, exec),
        Request::ReadFile { path } => read_file::read_file(session, &path),
        Request::WriteFile { path, perm } => write_file::write_file(session, &path, perm),
        Request::Stat { path, follow } => Ok(stat::stat(&path, follow)?),
        Request::Syscall(call) => Ok(syscall::make(call)?),
        Request::Resumed(resumed) => Ok(resumed::resumed(&session.agent.random, &resumed)?),
        Request::Start(exec) => started::start(session, exec),
        Request::WaitProcess(wait) => started::wait(session, wait),
        Request::ProcessState { handle } => started::state(session, handle),
        Request::SignalProcess { handle, signal } => started::signal(session, handle, signal),
        Request::SignalGroup { handle, signal } => started::signal_group(session, handle, signal),
        Request::Attach(what) => attach::start(session, what),
        Request::ResizeTerminal { handle, size } => started::resize(session, handle, size),
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
        Request::RemoveDir { path, recursive } => Ok(folders::remove(&path, recursive)?),
        Request::Chmod { path, perm } => Ok(attributes::chmod(&path, perm)?),
        Request::Chown {
            path,
            uid,
            gid,
            follow,
        } => Ok(attributes::chown(&path, uid, gid, follow)?),
        Request::Symlink { target, path } => Ok(links::make(&target, &path)?),
        Request::ReadLink { path } => links::read(session, &path),
        Request::Truncate { path, size } => Ok(attributes::truncate(&path, size)?),
        Request::Exists { path } => Ok(stat::exists(&path)?),
        Request::StartSyscall(call) => Ok(syscall::start(session, call)?),
        Request::WaitSyscall { handle, timeout_ms } => syscall::wait(session, handle, timeout_ms),
        Request::Follow(what) => follow(session, what),
        Request::Park => {
            let ticket = session.agent.parked.park(&session.stream);
            let ticket = ticket.map_err(|errno| failed("keep the connection for a worker", errno))?;
            session.after_reply(AfterReply::Leave);
            Ok(Response::Parked { ticket })
        }
        Request::TakeOver { tid } => Ok(estate::take_over(session, tid)?),
        Request::SpawnWorker { ticket, thread } => Ok(worker::spawn(session, ticket, thread)?),
    }
}

/// Begins a stream.
fn follow(session: &mut Session, what: Follow) -> Result<Response, Failure> {
    let source = match what {
        Follow::File { path, start } => follow::file::open(&path, start, &session.agent.threads)?,
        Follow::Fd { fd } => follow::fd::open(fd, &session.agent.threads)?,
        Follow::Output { handle, stderr, from } => {
            follow::output::open(&started::find(session, handle)?, stderr, from)?
        }
    };
    let offset = source.offset();
    session.after_reply(AfterReply::Follow(source));
    Ok(Response::Following { offset })
}

fn send(session: &mut Session, reply: Reply) -> Result<(), SessionError> {
    if let Some(news) = session.agent.taint.news() {
        write_frame(&mut session.stream, &Frame::Taint(news))?;
    }
    match write_frame(&mut session.stream, &Frame::Reply(reply)) {
        Err(error @ FrameError::TooLong { .. }) => {
            let message = format!("the answer does not fit: {error}");
            let reply = Err(OpError { errno: None, message });
            Ok(write_frame(&mut session.stream, &Frame::Reply(reply))?)
        }
        result => Ok(result?),
    }
}
