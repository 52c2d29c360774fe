//! System calls that have been started and not been waited for.
//!
//! Input: calls.
//! Output: handles, later the calls' results. A call's thread begins with the credentials of the thread that
//! starts it, and ends with its call.
//! Not here: taking a call back; one that never returns keeps its thread, and nothing else.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::thread;

use provium_protocol::{OpError, Response, Syscall};
use rustix::fd::{AsFd, BorrowedFd};

use super::raw;
use crate::failure::{failed, impossible};
use crate::lock::Mutex;
use crate::threads::ThreadWatch;
use crate::wakeup::Wakeup;

/// Bytes of a thread's stack. A system call does not need much; a `clone` that shares this stack needs what
/// the caller gives it.
const STACK: usize = 128 * 1024;

/// Calls by handle.
#[derive(Debug, Default)]
pub(crate) struct CallTable(Mutex<Calls>);

#[derive(Debug, Default)]
struct Calls {
    last: u64,
    /// Owner and call.
    by_handle: BTreeMap<u64, (u64, Arc<StartedCall>)>,
}

/// A call on its thread.
#[derive(Debug)]
pub(crate) struct StartedCall {
    result: Mutex<Option<Result<Response, OpError>>>,
    /// Readable from the moment when there is a result.
    finished: Wakeup,
}

impl StartedCall {
    /// Descriptor that becomes readable when the call has returned.
    pub(crate) fn finished(&self) -> BorrowedFd<'_> {
        self.finished.as_fd()
    }

    fn finish(&self, result: Result<Response, OpError>) {
        *self.result.lock() = Some(result);
        self.finished.wake();
    }

    /// The call's result, if it has returned.
    pub(crate) fn result(&self) -> Option<Result<Response, OpError>> {
        self.result.lock().clone()
    }
}

impl CallTable {
    /// Makes a call on a thread of its own: its handle and its thread's id.
    pub(crate) fn start(
        &self,
        owner: u64,
        call: Syscall,
        threads: &Arc<ThreadWatch>,
    ) -> Result<(u64, u32), OpError> {
        let finished = Wakeup::new().map_err(|errno| failed("start a system call", errno))?;
        let started = Arc::new(StartedCall {
            result: Mutex::default(),
            finished,
        });
        let (tell, told) = channel();
        let (calling, threads) = (started.clone(), threads.clone());
        let make = move || {
            // Who asks waits for it.
            let _ = tell.send(rustix::thread::gettid().as_raw_pid().cast_unsigned());
            let ended = calling.clone();
            let watched = threads.watch(move |thread| ended.finish(Ok(Response::ThreadEnded(thread))));
            let result = raw::make(call);
            drop(watched);
            calling.finish(result);
        };
        let thread = thread::Builder::new().name("syscall".to_owned());
        let made = thread.stack_size(STACK).spawn(make);
        let tid = made.and_then(|_| told.recv().map_err(std::io::Error::other));
        let tid =
            tid.map_err(|error| impossible(format!("cannot make a thread for a system call: {error}")))?;
        let mut calls = self.0.lock();
        calls.last += 1;
        let handle = calls.last;
        calls.by_handle.insert(handle, (owner, started));
        Ok((handle, tid))
    }

    /// The call with this handle.
    pub(crate) fn get(&self, handle: u64) -> Option<Arc<StartedCall>> {
        self.0.lock().by_handle.get(&handle).map(|(_, call)| call.clone())
    }

    /// Forgets a call.
    pub(crate) fn remove(&self, handle: u64) {
        self.0.lock().by_handle.remove(&handle);
    }

    /// Forgets all calls of a session.
    pub(crate) fn forget_all_of(&self, owner: u64) {
        self.0.lock().by_handle.retain(|_, (of, _)| *of != owner);
    }
}
