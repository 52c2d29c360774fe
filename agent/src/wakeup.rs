//! A wake-up: what one thread signals and another waits for among its other descriptors.
//!
//! Input: signals from any thread.
//! Output: a descriptor that is readable until the wake-up is cleared.
//! Not here: what it is about; who waits looks that up.

use rustix::event::{EventfdFlags, eventfd};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::io::Errno;

use crate::fds;

/// An event counter: readable from the first [`Wakeup::wake`] until [`Wakeup::clear`].
#[derive(Debug)]
pub(crate) struct Wakeup(OwnedFd);

impl Wakeup {
    pub(crate) fn new() -> Result<Wakeup, Errno> {
        fds::own(|| eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)).map(Wakeup)
    }

    /// Makes the descriptor readable.
    pub(crate) fn wake(&self) {
        // Fails only when it has been written to 2^64 times, and then it is readable anyway.
        let _ = rustix::io::write(&self.0, &1u64.to_ne_bytes());
    }

    /// Makes the descriptor unreadable; to be called before looking at what it was signalled for.
    pub(crate) fn clear(&self) {
        let _ = rustix::io::read(&self.0, &mut [0; 8]);
    }
}

impl AsFd for Wakeup {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
