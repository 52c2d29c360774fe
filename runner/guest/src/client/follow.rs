//! Streams: a session that does nothing any more but bring bytes.
//!
//! Input: a session and a [`Follow`]. Output: bytes, as they come. Nothing is read ahead: what nobody asks
//! for stays in the connection, whose buffers are bounded, and slows the one who sends it. A read that runs
//! out of time in the middle of a frame goes on there the next time. Not here: what the bytes are of.

use std::io::{ErrorKind, Read};
use std::time::{Duration, Instant};

use provium_protocol::{BODY, Follow, Frame, MAX_FRAME, Request, Response, read_frame};

use super::op::Op;
use super::session::GuestClient;
use crate::error::{GuestError, from_frame};
use crate::wire::answer::mismatch;
use crate::wire::stream::Connection;

/// Most bytes taken from the connection at once.
const READ: usize = 64 * 1024;
/// Bytes of a frame's length field.
const LENGTH: usize = 4;

/// A stream of bytes out of the guest.
pub struct FollowStream {
    connection: Box<dyn Connection>,
    offset: u64,
    /// The beginning of a frame whose rest has not come yet.
    partial: Vec<u8>,
    over: bool,
}

/// What a read of a stream came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StreamRead {
    /// The next bytes.
    Bytes(Vec<u8>),
    /// Nothing in the time there was.
    TimedOut,
    /// There can be no more.
    End,
}

impl GuestClient {
    /// Turns the session into a stream.
    pub fn follow(mut self, what: Follow) -> Result<FollowStream, GuestError> {
        let op = Op::new(Request::Follow(what), |answer| match answer.response {
            Response::Following { offset } => Ok(offset),
            other => Err(mismatch("the beginning of a stream", &other)),
        });
        let offset = self.ask(op)?;
        Ok(FollowStream {
            connection: self.exchange.into_connection(),
            offset,
            partial: Vec::new(),
            over: false,
        })
    }
}

impl std::fmt::Debug for FollowStream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FollowStream")
            .field("offset", &self.offset)
            .field("over", &self.over)
            .finish_non_exhaustive()
    }
}

impl FollowStream {
    /// Offset of its first byte in the file or output.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// A handle with which another thread ends it: in order with [`Connection::finish`], after which it
    /// brings what the guest has sent and then breaks off, or at once with [`Connection::hang_up`].
    pub fn handle(&self) -> Result<Box<dyn Connection>, GuestError> {
        self.connection.try_clone().map_err(GuestError::Lost)
    }

    /// The next bytes, waited for at most `limit`, or for ever.
    pub fn read(&mut self, limit: Option<Duration>) -> Result<StreamRead, GuestError> {
        let deadline = limit.and_then(|limit| Instant::now().checked_add(limit));
        let mut looked = false;
        loop {
            if self.over {
                return Ok(StreamRead::End);
            }
            if let Some(frame) = self.whole_frame()? {
                match frame {
                    Frame::Data { channel: BODY, bytes } if bytes.is_empty() => continue,
                    Frame::Data { channel: BODY, bytes } => return Ok(StreamRead::Bytes(bytes)),
                    Frame::End { channel: BODY } => {
                        self.over = true;
                        return Ok(StreamRead::End);
                    }
                    Frame::Reply(Ok(Response::ThreadEnded(thread))) => {
                        self.over = true;
                        let console = None;
                        return Err(GuestError::ThreadEnded { thread, console });
                    }
                    other => {
                        self.over = true;
                        let what = format!("{} came where a stream's bytes were due", other.name());
                        return Err(GuestError::Protocol(what));
                    }
                }
            }
            let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
            // What is there already is taken even where there is no time to wait.
            if looked && left.is_some_and(|left| left.is_zero()) {
                return Ok(StreamRead::TimedOut);
            }
            looked = true;
            match self.fill(left.map(|left| left.max(Duration::from_micros(1))))? {
                true => {}
                false => return Ok(StreamRead::TimedOut),
            }
        }
    }

    /// Takes a frame out of what has come, if it is whole.
    fn whole_frame(&mut self) -> Result<Option<Frame>, GuestError> {
        let Some(length) = self.partial.first_chunk::<LENGTH>() else {
            return Ok(None);
        };
        let whole = LENGTH.saturating_add(u32::from_be_bytes(*length) as usize);
        // One that is too long is read in vain, for its error.
        if self.partial.len() < whole && whole <= MAX_FRAME {
            return Ok(None);
        }
        let end = whole.min(self.partial.len());
        let frame = read_frame(&mut &self.partial[..end]).map_err(|error| {
            self.over = true;
            from_frame(error, None)
        })?;
        self.partial.drain(..end);
        Ok(Some(frame))
    }

    /// Reads once; false when time is up.
    fn fill(&mut self, limit: Option<Duration>) -> Result<bool, GuestError> {
        self.connection
            .set_read_timeout(limit)
            .map_err(GuestError::Lost)?;
        let have = self.partial.len();
        self.partial.resize(have + READ, 0);
        let read = self.connection.read(&mut self.partial[have..]);
        self.partial.truncate(have + *read.as_ref().unwrap_or(&0));
        match read {
            Ok(0) => {
                self.over = true;
                let error = std::io::Error::from(ErrorKind::UnexpectedEof);
                Err(GuestError::Lost(error))
            }
            Ok(_) => Ok(true),
            Err(error) if error.kind() == ErrorKind::Interrupted => Ok(true),
            Err(error) if matches!(error.kind(), ErrorKind::TimedOut | ErrorKind::WouldBlock) => Ok(false),
            Err(error) => {
                self.over = true;
                Err(GuestError::Lost(error))
            }
        }
    }
}
