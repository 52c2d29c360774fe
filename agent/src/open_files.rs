//! Descriptors that a session has opened for its test.
//!
//! Input: numbers, which are the test's to use and to close as it likes.
//! Output: the same numbers closed, at the latest when the session ends.
//! Not here: reading and writing; see `ops::files`.

use std::collections::BTreeSet;

use rustix::fd::{IntoRawFd, OwnedFd, RawFd};
use rustix::io::Errno;

use crate::sys;

/// Numbers of a session's open descriptors.
#[derive(Debug, Default)]
pub(crate) struct OpenFiles(BTreeSet<RawFd>);

impl OpenFiles {
    /// Gives a descriptor to the test; its number.
    pub(crate) fn add(&mut self, fd: OwnedFd) -> RawFd {
        let number = fd.into_raw_fd();
        self.0.insert(number);
        number
    }

    /// Closes a descriptor of the test's, whoever has opened it.
    pub(crate) fn close(&mut self, number: RawFd) -> Result<(), Errno> {
        self.0.remove(&number);
        close(number)
    }

    /// Closes what is left.
    pub(crate) fn close_all(&mut self) {
        for number in std::mem::take(&mut self.0) {
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
