//! The connection of a session: bodies that come on it, waiting beside it, and how it ends.
//!
//! Input: the stream socket of a session.
//! Output: the pieces of a request's body, in order; the host's hang-up as an error wherever something is
//! waited for.
//! Not here: the gathering of a body, since each op knows best where the bytes go; requests and replies
//! (`serve`).

use std::fs::File;
use std::io::ErrorKind;
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
    /// Whether the host has hung up, with data under way perhaps: an end like any other, and no news.
    pub(crate) fn is_hang_up(&self) -> bool {
        match self {
            SessionError::Frame(FrameError::Closed) => true,
            SessionError::Frame(FrameError::Io(error)) => matches!(
                error.kind(),
                ErrorKind::BrokenPipe | ErrorKind::ConnectionReset | ErrorKind::NotConnected
            ),
            _ => false,
        }
    }

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
    stream: &'s File,
    over: bool,
}

impl<'s> Body<'s> {
    /// The body that comes next on the stream.
    pub(crate) fn new(stream: &'s File) -> Body<'s> {
        Body { stream, over: false }
    }

    /// The next piece; `None` at the end.
    pub(crate) fn next(&mut self) -> Result<Option<Vec<u8>>, SessionError> {
        if self.over {
            return Ok(None);
        }
        match read_frame(&mut self.stream)? {
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

#[cfg(test)]
mod tests {
    use std::os::fd::AsRawFd;
    use std::os::unix::net::UnixStream;
    use std::thread;

    use provium_protocol::{Follow, Request, Welcome, write_frame};

    use super::*;
    use crate::agent::Agent;
    use crate::session::Session;

    #[test]
    fn a_host_that_closes_a_stream_with_data_under_way_has_hung_up() {
        let (mut host, guest) = UnixStream::pair().expect("a pair of sockets");
        let agent = Agent::new(None).expect("an agent");
        let zeros = File::open("/dev/zero").expect("it opens");
        let fd = zeros.as_raw_fd();
        let session = thread::spawn(move || {
            Session::open(guest.into(), &std::sync::Arc::new(agent)).and_then(Session::run)
        });
        assert!(matches!(read_frame(&mut host), Ok(Frame::Hello(_))));
        write_frame(&mut host, &Frame::Welcome(Welcome { version: VERSION })).expect("a welcome");
        write_frame(&mut host, &Frame::Request(Request::Follow(Follow::Fd { fd }))).expect("a request");
        assert!(matches!(read_frame(&mut host), Ok(Frame::Reply(Ok(_)))));
        assert!(matches!(read_frame(&mut host), Ok(Frame::Data { .. })));
        drop(host);
        // It may have seen the end between two writes, which is no error at all.
        let ended = session.join().expect("no panic");
        assert!(ended.map_or_else(|error| error.is_hang_up(), |()| true));
    }

    #[test]
    fn an_end_within_a_frame_or_a_breach_of_the_protocol_is_news() {
        let truncated = SessionError::from(FrameError::Truncated { got: 1, wanted: 4 });
        assert!(!truncated.is_hang_up());
        assert!(!SessionError::Version(7).is_hang_up());
        let denied = std::io::Error::from(ErrorKind::PermissionDenied);
        assert!(!SessionError::from(FrameError::Io(denied)).is_hang_up());
        for kind in [ErrorKind::BrokenPipe, ErrorKind::ConnectionReset] {
            assert!(SessionError::from(FrameError::Io(kind.into())).is_hang_up());
        }
    }
}
