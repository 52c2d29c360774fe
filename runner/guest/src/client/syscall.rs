//! Raw system calls: on the session's own thread, or on one of their own.
//!
//! Input: a [`Syscall`] of the wire. Output: operations that come to the kernel's return value and every
//! buffer, in the length it had. Not here: which call means what.

use std::time::Duration;

use provium_protocol::{Request, Response, Syscall};

use super::op::Op;
use super::process::{Started, millis, started};
use crate::wire::answer::mismatch;

/// The kernel's return value (`-errno` on failure) and the buffers after the call.
pub type SyscallResult = (i64, Vec<Vec<u8>>);

/// A raw system call on the session's thread.
pub fn syscall(call: Syscall) -> Op<SyscallResult> {
    let sizes = sizes_of(&call);
    Op::new(Request::Syscall(call), move |answer| {
        result(answer.response, &sizes)
    })
}

/// Starts a system call on a thread of its own.
pub fn start_syscall(call: Syscall) -> Op<Started> {
    Op::new(Request::StartSyscall(call), |answer| started(answer.response))
}

/// Waits for a started system call whose buffers have these sizes, at most for `limit`; comes to `None` when
/// it has not returned by then. Once it has, its handle is gone.
pub fn wait_syscall(handle: u64, limit: Option<Duration>, sizes: Vec<usize>) -> Op<Option<SyscallResult>> {
    let timeout_ms = limit.map(millis);
    let request = Request::WaitSyscall { handle, timeout_ms };
    Op::new(request, move |answer| match answer.response {
        Response::Running => Ok(None),
        response => result(response, &sizes).map(Some),
    })
    .limited(limit)
}

/// The sizes of a call's buffers.
fn sizes_of(call: &Syscall) -> Vec<usize> {
    call.bufs.iter().map(|buf| buf.len()).collect()
}

/// The result in a reply, whose buffers must have these sizes.
fn result(response: Response, sizes: &[usize]) -> Result<SyscallResult, String> {
    match response {
        Response::Syscall { ret, bufs } if bufs.iter().map(|buf| buf.len()).eq(sizes.iter().copied()) => {
            Ok((ret, bufs.into_iter().map(|buf| buf.into_vec()).collect()))
        }
        other => Err(mismatch("a system call's result with every buffer", &other)),
    }
}
