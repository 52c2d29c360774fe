//! Things that are read as they come: pipes, sockets, terminals, devices.
//!
//! Input: a descriptor of the agent's own.
//! Output: what comes out of it, until its end.
//! Not here: sharing; what is taken from a pipe is taken from whoever else reads it.

use rustix::event::PollFlags;
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::io::Errno;

use super::source::{Step, StreamSource};
use crate::poll::events_now;

/// Something that is read as it comes: a pipe, a socket, a terminal, a device.
#[derive(Debug)]
pub(super) struct Channel(OwnedFd);

impl Channel {
    pub(super) fn new(fd: OwnedFd) -> Channel {
        Channel(fd)
    }
}

impl StreamSource for Channel {
    fn offset(&self) -> u64 {
        0
    }

    fn next(&mut self, buffer: &mut [u8]) -> Result<Step, Errno> {
        // It may block when read, and the test may not want that changed.
        if events_now(&self.0, PollFlags::IN).is_empty() {
            return Ok(Step::Nothing);
        }
        match rustix::io::read(&self.0, buffer) {
            Ok(0) => Ok(Step::Over),
            Ok(count) => Ok(Step::Bytes(count)),
            // The kernel's log says the latter once when it has dropped messages that nobody had read.
            Err(Errno::AGAIN | Errno::INTR | Errno::PIPE) => Ok(Step::Nothing),
            Err(error) => Err(error),
        }
    }

    fn readable(&self) -> Option<BorrowedFd<'_>> {
        Some(self.0.as_fd())
    }
}
