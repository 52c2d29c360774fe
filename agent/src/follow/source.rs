//! What a connection can be a stream of.
//!
//! Input: a buffer to fill.
//! Output: bytes, or that there are none now or ever.
//! Not here: waiting; a source has a descriptor for whoever waits.

use std::time::Duration;

use provium_protocol::EndedThread;
use rustix::fd::BorrowedFd;
use rustix::io::Errno;

/// How often a source is looked at whether or not its descriptor has become readable.
pub(super) const LOOK: Duration = Duration::from_millis(250);

/// Something that grows and is read from its beginning on.
pub(crate) trait StreamSource {
    /// Byte offset of the stream's first byte in the file or output; 0 where there is no such offset.
    fn offset(&self) -> u64;

    /// Takes what there is, as much as fits; does not wait.
    fn next(&mut self, buffer: &mut [u8]) -> Result<Step, Errno>;

    /// Descriptor that becomes readable when there may be more.
    fn readable(&self) -> Option<BorrowedFd<'_>>;

    /// The thread that it cannot do without, if the kernel has ended that.
    fn lost(&self) -> Option<EndedThread> {
        None
    }
}

/// Result of taking from a source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// Number of bytes in the buffer, at least one.
    Bytes(usize),
    /// Nothing now; more may come.
    Nothing,
    /// Nothing, and nothing more can come.
    Over,
}
