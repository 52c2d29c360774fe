//! Syscall, StartSyscall and WaitSyscall: raw system calls, on the session's own thread or on one of their
//! own.
//!
//! Input: calls and handles.
//! Output: results. While an op waits, it notices that the host has gone.
//! Not here: how a call is made; see `syscalls`.

use std::time::{Duration, Instant};

use provium_protocol::{OpError, Response, Syscall};
use rustix::event::PollFlags;

use crate::connection::wait_for;
use crate::failure::{Failure, impossible};
use crate::session::Session;
use crate::syscalls::raw;

pub(crate) fn make(call: Syscall) -> Result<Response, OpError> {
    raw::make(call)
}

pub(crate) fn start(session: &Session, call: Syscall) -> Result<Response, OpError> {
    let (handle, pid) = session
        .agent
        .calls
        .start(session.id(), call, &session.agent.threads)?;
    Ok(Response::Started { handle, pid })
}

pub(crate) fn wait(session: &Session, handle: u64, timeout_ms: Option<u64>) -> Result<Response, Failure> {
    let until = timeout_ms.and_then(|ms| Instant::now().checked_add(Duration::from_millis(ms)));
    let Some(call) = session.agent.calls.get(handle) else {
        let why = format!("there is no system call with handle {handle}: it has been waited for");
        return Err(impossible(why).into());
    };
    if !wait_for(&session.stream, call.finished(), PollFlags::IN, until)? {
        return Ok(Response::Running);
    }
    session.agent.calls.remove(handle);
    match call.result() {
        Some(result) => Ok(result?),
        None => Err(impossible(format!("system call {handle} has no result")).into()),
    }
}
