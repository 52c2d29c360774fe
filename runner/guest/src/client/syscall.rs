//! Raw system calls: on the session's own thread, or on one of their own.
//!
//! Enters: a [`Syscall`] of the wire. Leaves: the kernel's return value and every buffer, in the length it had.

use std::time::Duration;

use provium_protocol::{Request, Response, Syscall};

use super::process::millis;
use super::{GuestClient, Started};
use crate::GuestError;
use crate::exchange::no_data;

/// The kernel's return value (`-errno` on failure) and the buffers after the call.
pub type SyscallResult = (i64, Vec<Vec<u8>>);

impl GuestClient {
    /// A raw system call: the kernel's return value (`-errno` on failure) and the buffers after it.
    pub fn syscall(&mut self, call: Syscall) -> Result<SyscallResult, GuestError> {
        let sizes: Vec<usize> = call.bufs.iter().map(|buf| buf.len()).collect();
        let response = self.ask(Request::Syscall(call))?;
        self.is_result(response, &sizes)
    }

    /// Starts a system call on a thread of its own.
    pub fn start_syscall(&mut self, call: Syscall) -> Result<Started, GuestError> {
        let response = self.ask(Request::StartSyscall(call))?;
        self.is_started(response)
    }

    /// Waits for a started system call whose buffers have these sizes, at most for `limit`; `None` when it has not come
    /// back by then. Once it has, its handle is gone.
    pub fn wait_syscall(
        &mut self,
        handle: u64,
        limit: Option<Duration>,
        sizes: &[usize],
    ) -> Result<Option<SyscallResult>, GuestError> {
        let request = Request::WaitSyscall {
            handle,
            timeout_ms: limit.map(millis),
        };
        let limit = limit.map(|limit| limit.saturating_add(self.grace));
        match self.exchange.request(request, None, limit, &mut no_data)? {
            Response::Running => Ok(None),
            response => self.is_result(response, sizes).map(Some),
        }
    }

    pub(super) fn is_result(
        &mut self,
        response: Response,
        sizes: &[usize],
    ) -> Result<SyscallResult, GuestError> {
        match response {
            Response::Syscall { ret, bufs } if bufs.iter().map(|buf| buf.len()).eq(sizes.iter().copied()) => {
                Ok((ret, bufs.into_iter().map(|buf| buf.into_vec()).collect()))
            }
            other => Err(self
                .exchange
                .unexpected("a system call's result with every buffer", &other)),
        }
    }
}
