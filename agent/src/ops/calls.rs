//! StartSyscall and WaitSyscall: system calls that block, each on a thread of its own.
//!
//! Enters: a call. Leaves: a handle, later the call's result. The thread begins with the credentials of the session
//! that asked for it, and ends with its call. Absent on purpose: taking a call back; one that never returns keeps its
//! thread, and nothing else.

use std::collections::BTreeMap;
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread;
use std::time::{Duration, Instant};

use provium_protocol::{OpError, Response, Syscall};
use rustix::event::PollFlags;
use rustix::fd::AsFd;

use super::{Failure, failed, impossible, syscall};
use crate::process::bell::Bell;
use crate::session::{Session, wait_for};

/// A system call does not need much; a `clone` that shares this stack needs what the caller gives it.
const STACK: usize = 128 * 1024;

/// Calls by handle.
#[derive(Debug, Default)]
pub(crate) struct Calls(Mutex<Entries>);

#[derive(Debug, Default)]
struct Entries {
    last: u64,
    calls: BTreeMap<u64, (u64, Arc<Call>)>,
}

#[derive(Debug)]
struct Call {
    result: Mutex<Option<Result<Response, OpError>>>,
    /// Rings when there is a result, and stays so.
    bell: Bell,
}

impl Calls {
    /// Forgets the calls of a session.
    pub(crate) fn forget(&self, owner: u64) {
        self.entries().calls.retain(|_, (of, _)| *of != owner);
    }

    fn entries(&self) -> MutexGuard<'_, Entries> {
        self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

pub(super) fn start(session: &Session, call: Syscall) -> Result<Response, OpError> {
    let bell = Bell::new().map_err(|errno| failed("start a system call", errno))?;
    let started = Arc::new(Call {
        result: Mutex::new(None),
        bell,
    });
    let (tell, told) = channel();
    let calling = started.clone();
    let make = move || {
        // Who asks waits for it.
        let _ = tell.send(rustix::thread::gettid().as_raw_pid().cast_unsigned());
        let result = syscall::syscall(call);
        *calling
            .result
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner()) = Some(result);
        calling.bell.ring();
    };
    let thread = thread::Builder::new().name("syscall".to_owned());
    let made = thread.stack_size(STACK).spawn(make);
    let pid = made.and_then(|_| told.recv().map_err(std::io::Error::other));
    let pid = pid.map_err(|error| impossible(format!("cannot make a thread for a system call: {error}")))?;
    let mut entries = session.agent.calls.entries();
    entries.last += 1;
    let handle = entries.last;
    entries.calls.insert(handle, (session.id, started));
    Ok(Response::Started { handle, pid })
}

pub(super) fn wait(session: &Session, handle: u64, timeout_ms: Option<u64>) -> Result<Response, Failure> {
    let until = timeout_ms.and_then(|ms| Instant::now().checked_add(Duration::from_millis(ms)));
    let found = session.agent.calls.entries().calls.get(&handle).cloned();
    let Some((_, call)) = found else {
        let why = format!("there is no system call with handle {handle}: it has been waited for");
        return Err(impossible(why).into());
    };
    if !wait_for(&session.stream, call.bell.as_fd(), PollFlags::IN, until)? {
        return Ok(Response::Running);
    }
    session.agent.calls.entries().calls.remove(&handle);
    let result = call
        .result
        .lock()
        .unwrap_or_else(|poisoned| poisoned.into_inner());
    match result.clone() {
        Some(result) => Ok(result?),
        None => Err(impossible(format!("system call {handle} has no result")).into()),
    }
}
