//! Streams: a session that does nothing any more but bring bytes.
//!
//! Enters: a session and a [`Follow`]. Leaves: bytes, as they come. Nothing is read ahead: what nobody asks for stays
//! in the connection, whose buffers are bounded, and slows the one who sends it. A read that runs out of time in the
//! middle of a frame goes on there the next time.

use std::io::{ErrorKind, Read};
use std::time::{Duration, Instant};

use provium_protocol::{BODY, Follow, Frame, MAX_FRAME, Request, Response, read_frame};

use super::GuestClient;
use crate::error::{GuestError, from_frame};
use crate::stream::Stream;

/// Most bytes taken from the connection at once.
const READ: usize = 64 * 1024;
/// Bytes of a frame's length field.
const LENGTH: usize = 4;

/// A stream of the guest's.
pub struct Following {
    stream: Box<dyn Stream>,
    offset: u64,
    /// What has come of a frame that is not whole yet.
    partial: Vec<u8>,
    over: bool,
}

/// What a read came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Came {
    /// These bytes.
    Bytes(Vec<u8>),
    /// Nothing in the time there was.
    Nothing,
    /// There can be no more.
    End,
}

impl GuestClient {
    /// Turns the session into a stream.
    pub fn follow(mut self, what: Follow) -> Result<Following, GuestError> {
        match self.ask(Request::Follow(what))? {
            Response::Following { offset } => Ok(Following {
                stream: self.exchange.into_stream(),
                offset,
                partial: Vec::new(),
                over: false,
            }),
            other => Err(self.exchange.unexpected("the beginning of a stream", &other)),
        }
    }
}

impl std::fmt::Debug for Following {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Following")
            .field("offset", &self.offset)
            .field("over", &self.over)
            .finish_non_exhaustive()
    }
}

impl Following {
    /// Where its first byte lies in the file or output.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// A handle by which another thread ends it: in order with [`Stream::finish`], after which it brings what the guest
    /// has sent and then breaks off, or at once with [`Stream::hang_up`].
    pub fn handle(&self) -> Result<Box<dyn Stream>, GuestError> {
        self.stream.try_clone().map_err(GuestError::Lost)
    }

    /// The next bytes, waited for at most `limit`, or for ever.
    pub fn read(&mut self, limit: Option<Duration>) -> Result<Came, GuestError> {
        let deadline = limit.and_then(|limit| Instant::now().checked_add(limit));
        let mut looked = false;
        loop {
            if self.over {
                return Ok(Came::End);
            }
            if let Some(frame) = self.whole_frame()? {
                match frame {
                    Frame::Data { channel: BODY, bytes } if bytes.is_empty() => continue,
                    Frame::Data { channel: BODY, bytes } => return Ok(Came::Bytes(bytes)),
                    Frame::End { channel: BODY } => {
                        self.over = true;
                        return Ok(Came::End);
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
                return Ok(Came::Nothing);
            }
            looked = true;
            match self.fill(left.map(|left| left.max(Duration::from_micros(1))))? {
                true => {}
                false => return Ok(Came::Nothing),
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
        self.stream.set_read_timeout(limit).map_err(GuestError::Lost)?;
        let have = self.partial.len();
        self.partial.resize(have + READ, 0);
        let read = self.stream.read(&mut self.partial[have..]);
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
