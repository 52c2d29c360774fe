//! The connection of a session: bodies that come on it, waiting beside it, and how it ends.
//!
//! Input: the stream socket of a session.
//! Output: the pieces of a request's body, in order; the host's hang-up as an error wherever something is
//! waited for.
//! Not here: the gathering of a body, since each op knows best where the bytes go; requests and replies
//! (`serve`).

use std::fs::File;
use std::time::{Duration, Instant};

use provium_protocol::{BODY, Frame, FrameError, VERSION, read_frame};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::fd::BorrowedFd;
use rustix::io::Errno;

use crate::poll::timespec;

/// Why a session ended other than by the host closing it.
#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    /// The connection broke or carried something other than a frame.
    #[error("{0}")]
    Frame(#[from] FrameError),
    /// The host does not want this agent.
    #[error("the host refused this agent: {0}")]
    Refused(String),
    /// The host welcomed an agent of another version.
    #[error("the host speaks protocol version {0}, this agent speaks version {VERSION}")]
    Version(u32),
    /// A frame came where another was due.
    #[error("the host sent {got} where {wanted} was due")]
    Unexpected {
        /// The frame that came, in words.
        got: &'static str,
        /// The frame that was due, in words.
        wanted: &'static str,
    },
}

impl SessionError {
    /// The error for a frame out of turn.
    pub(crate) fn unexpected(got: &Frame, wanted: &'static str) -> SessionError {
        SessionError::Unexpected {
            got: got.name(),
            wanted,
        }
    }
}

/// Waits until something happens to the descriptor or the time is up; false for the latter. A host that has
/// gone is an error: it sends nothing before the reply, so that only its end is of interest.
pub(crate) fn wait_for(
    stream: &File,
    fd: BorrowedFd<'_>,
    events: PollFlags,
    until: Option<Instant>,
) -> Result<bool, SessionError> {
    loop {
        let mut fds = [
            PollFd::new(stream, PollFlags::RDHUP),
            PollFd::from_borrowed_fd(fd, events),
        ];
        let left = until.map(|until| until.saturating_duration_since(Instant::now()));
        let timeout = left.map(timespec);
        match poll(&mut fds, timeout.as_ref()) {
            Ok(0) => return Ok(false),
            Ok(_) if !fds[0].revents().is_empty() => return Err(FrameError::Closed.into()),
            Ok(_) => return Ok(true),
            Err(Errno::INTR) => {}
            // Out of memory is what is left as a cause; it may pass.
            Err(_) => std::thread::sleep(Duration::from_millis(10)),
        }
    }
}

/// The body of a request, which is being read. It must be read to its end before the reply, by
/// [`Body::drain`] if nothing else does.
pub(crate) struct Body<'s> {
    stream: &'s mut File,
    over: bool,
}

impl<'s> Body<'s> {
    /// The body that comes next on the stream.
    pub(crate) fn new(stream: &'s mut File) -> Body<'s> {
        Body { stream, over: false }
    }

    /// The next piece; `None` at the end.
    pub(crate) fn next(&mut self) -> Result<Option<Vec<u8>>, SessionError> {
        if self.over {
            return Ok(None);
        }
        match read_frame(self.stream)? {
            Frame::Data { channel: BODY, bytes } => Ok(Some(bytes)),
            Frame::End { channel: BODY } => {
                self.over = true;
                Ok(None)
            }
            Frame::Data { .. } | Frame::End { .. } => Err(SessionError::Unexpected {
                got: "data of another channel",
                wanted: "the request's body",
            }),
            other => Err(SessionError::unexpected(&other, "the request's body")),
        }
    }

    /// All pieces, in order.
    pub(crate) fn all(&mut self) -> Result<Vec<Vec<u8>>, SessionError> {
        let mut pieces = Vec::new();
        while let Some(piece) = self.next()? {
            pieces.push(piece);
        }
        Ok(pieces)
    }

    /// The stream it comes on, to see whether the host is still there.
    pub(crate) fn stream(&self) -> &File {
        self.stream
    }

    /// Reads the rest and drops it.
    pub(crate) fn drain(&mut self) -> Result<(), SessionError> {
        while self.next()?.is_some() {}
        Ok(())
    }
}
