//! Descriptors that a session has opened for its test.
//!
//! Input: numbers, which are the test's to use and to close as it likes.
//! Output: the same numbers closed, at the latest when the session ends.
//! Not here: reading and writing; see `ops::files`.

use std::collections::BTreeSet;

use rustix::fd::{IntoRawFd, OwnedFd, RawFd};
use rustix::io::Errno;

use crate::lock::Mutex;
use crate::sys;

/// Numbers of a session's open descriptors. The lock is not held while the kernel closes one: that may be the
/// last that the thread does.
#[derive(Debug, Default)]
pub(crate) struct OpenFiles(Mutex<BTreeSet<RawFd>>);

impl OpenFiles {
    /// Gives a descriptor to the test; its number.
    pub(crate) fn add(&self, fd: OwnedFd) -> RawFd {
        let number = fd.into_raw_fd();
        self.0.lock().insert(number);
        number
    }

    /// Closes a descriptor of the test's, whoever has opened it.
    pub(crate) fn close(&self, number: RawFd) -> Result<(), Errno> {
        self.0.lock().remove(&number);
        close(number)
    }

    /// Takes over all that another session has.
    pub(crate) fn take_over(&self, other: &OpenFiles) {
        let theirs = other.take();
        self.0.lock().extend(theirs);
    }

    fn take(&self) -> BTreeSet<RawFd> {
        std::mem::take(&mut *self.0.lock())
    }

    /// Closes what is left.
    pub(crate) fn close_all(&self) {
        for number in self.take() {
            // The test may have closed it itself.
            let _ = close(number);
        }
    }
}

fn close(number: RawFd) -> Result<(), Errno> {
    // SAFETY: the number is one the test was given; that it may name another file by now, if the test's own
    // system calls have closed it, is the test's decision as with any other call it makes. Nothing of the
    // agent relies on it.
    unsafe { sys::close(number) }
}
