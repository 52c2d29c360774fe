//! The body of a request: data frames until the end.
//!
//! Enters: the session's stream behind a request that has a body. Leaves: its pieces, in order. Absent on
//! purpose: any gathering; each op knows best where the bytes go.

use std::fs::File;

use provium_protocol::{BODY, Frame, read_frame};

use crate::session::{SessionError, unexpected};

/// A body that is being read. It must be read to its end before the reply, [`Body::drain`] at the least.
pub(super) struct Body<'s> {
    stream: &'s mut File,
    over: bool,
}

impl<'s> Body<'s> {
    /// The body that comes next on the stream.
    pub(super) fn new(stream: &'s mut File) -> Body<'s> {
        Body { stream, over: false }
    }

    /// The next piece; `None` at the end.
    pub(super) fn next(&mut self) -> Result<Option<Vec<u8>>, SessionError> {
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
            other => Err(unexpected(&other, "the request's body")),
        }
    }

    /// All pieces at once.
    pub(super) fn all(&mut self) -> Result<Vec<Vec<u8>>, SessionError> {
        let mut pieces = Vec::new();
        while let Some(piece) = self.next()? {
            pieces.push(piece);
        }
        Ok(pieces)
    }

    /// The stream it comes on, to see whether the host is still there.
    pub(super) fn stream(&self) -> &File {
        self.stream
    }

    /// Reads the rest and drops it.
    pub(super) fn drain(&mut self) -> Result<(), SessionError> {
        while self.next()?.is_some() {}
        Ok(())
    }
}
