//! Frames: how messages lie on the wire.
//!
//! ```text
//! ┌──────────────┬──────┬───────────────────────────────────────────────┐
//! │ length (u32) │ kind │ payload                                       │
//! └──────────────┴──────┴───────────────────────────────────────────────┘
//!   big-endian; kind and payload, not itself
//!
//!   1 Hello   2 Welcome   3 Refused   4 Request   5 Reply   8 Taint    MessagePack, structs as arrays
//!   6 Data                                                   channel (u8), then the bytes as they are
//!   7 End                                                    channel (u8)
//! ```
//!
//! Structs travel as arrays without field names: smaller and faster, and nothing is lost by it, since both
//! sides must be of one version anyway. Enum variants do carry their names.
//!
//! Input: a `Read` or `Write`.
//! Output: [`Frame`]s.
//! Not here: trust in the sender. A length is checked before anything is allocated, nesting is cut off at
//! [`MAX_DEPTH`], lists are bounded (`bounded.rs`), and whatever comes in is a frame or an error.

use std::io::{self, ErrorKind, IoSlice, Read, Write};

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::greeting::{Hello, Refused, Welcome};
use crate::limits::{DATA_CHUNK, MAX_FRAME};
use crate::request::Request;
use crate::response::Reply;
use crate::taint::Taint;

/// Channel of a request's body, and of the content that a request asks for.
pub const BODY: u8 = 0;
/// Channel of a child's standard output.
pub const STDOUT: u8 = 1;
/// Channel of a child's standard error.
pub const STDERR: u8 = 2;
/// Bytes of the length field.
const LENGTH: usize = 4;
/// Bytes that every frame has: length, kind and one more. They come in one read and say whether the rest is
/// worth its memory.
const HEAD: usize = 6;
/// How deeply a message may nest; the deepest of ours needs about half of it.
pub(crate) const MAX_DEPTH: usize = 16;
/// Data up to this size is copied behind its header so that both leave in one write.
const COPY_LIMIT: usize = 4096;

const HELLO: u8 = 1;
const WELCOME: u8 = 2;
const REFUSED: u8 = 3;
const REQUEST: u8 = 4;
const REPLY: u8 = 5;
const DATA: u8 = 6;
const END: u8 = 7;
const TAINT: u8 = 8;

/// One frame of a session.
#[derive(Debug, Clone, PartialEq)]
pub enum Frame {
    /// Agent → host, the first frame of a session.
    Hello(Hello),
    /// Host → agent, accepts the session.
    Welcome(Welcome),
    /// Host → agent, ends the session.
    Refused(Refused),
    /// Host → agent, begins a request.
    Request(Request),
    /// Agent → host, ends the request.
    Reply(Reply),
    /// Raw bytes of a body or an output, in either direction; an honest sender puts at most [`DATA_CHUNK`] in
    /// one.
    Data {
        /// Body or output that the bytes belong to: [`BODY`], [`STDOUT`] or [`STDERR`].
        channel: u8,
        /// The bytes, never re-encoded.
        bytes: Vec<u8>,
    },
    /// No more `Data` on this channel for the current request.
    End {
        /// The channel that is complete.
        channel: u8,
    },
    /// Agent → host, right before a reply.
    Taint(Taint),
}

impl Frame {
    /// The kind of frame in words for error messages, such as "a hello".
    pub fn name(&self) -> &'static str {
        match self {
            Frame::Hello(_) => "a hello",
            Frame::Welcome(_) => "a welcome",
            Frame::Refused(_) => "a refusal",
            Frame::Request(_) => "a request",
            Frame::Reply(_) => "a reply",
            Frame::Data { .. } => "data",
            Frame::End { .. } => "an end of data",
            Frame::Taint(_) => "a taint",
        }
    }
}

/// Why there is no frame. After any of these but a failed write of a frame that is [`FrameError::TooLong`],
/// the stream has lost its place and must be closed.
#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    /// Input or output failed.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// The stream ended between two frames: the other side has closed it.
    #[error("the other side closed the connection")]
    Closed,
    /// The stream ended within a frame.
    #[error("the connection ended within a frame, after {got} of {wanted} bytes")]
    Truncated {
        /// Bytes of the frame that came.
        got: usize,
        /// Length of the whole frame, or of its length field where not even that came.
        wanted: usize,
    },
    /// The frame is larger than any may be. On writing, nothing has been written.
    #[error("a frame of {length} bytes is over the limit of {limit}")]
    TooLong {
        /// Length of the whole frame.
        length: u64,
        /// [`MAX_FRAME`].
        limit: usize,
    },
    /// The length is below that of the shortest frame.
    #[error("a frame with a length of {length}; the shortest have 2")]
    TooShort {
        /// The length field.
        length: usize,
    },
    /// The kind is not one of this protocol.
    #[error("unknown frame kind {kind} (length {length})")]
    UnknownKind {
        /// The kind.
        kind: u8,
        /// The length field.
        length: usize,
    },
    /// The payload is not what the kind promises.
    #[error("malformed {name} of {length} bytes: {reason}")]
    Malformed {
        /// The frame kind's name.
        name: &'static str,
        /// Length of the payload.
        length: usize,
        /// What the decoder found.
        reason: String,
    },
}

/// Reads one frame; blocks until it is there.
///
/// Errors: see [`FrameError`]; an end of the stream is [`FrameError::Closed`] between frames and
/// [`FrameError::Truncated`] within one.
pub fn read_frame(reader: &mut impl Read) -> Result<Frame, FrameError> {
    let mut head = [0; HEAD];
    let got = fill(reader, &mut head)?;
    let [l0, l1, l2, l3, kind, first] = head;
    let length = match got {
        0 => return Err(FrameError::Closed),
        1..LENGTH => return Err(FrameError::Truncated { got, wanted: LENGTH }),
        _ => u32::from_be_bytes([l0, l1, l2, l3]) as usize,
    };
    if length > MAX_FRAME - LENGTH {
        return Err(FrameError::TooLong {
            length: length as u64 + LENGTH as u64,
            limit: MAX_FRAME,
        });
    }
    if length < HEAD - LENGTH {
        return Err(FrameError::TooShort { length });
    }
    if got < HEAD {
        return Err(FrameError::Truncated {
            got,
            wanted: LENGTH + length,
        });
    }
    match kind {
        DATA => {
            let mut bytes = vec![0; length - 2];
            rest(reader, &mut bytes)?;
            Ok(Frame::Data {
                channel: first,
                bytes,
            })
        }
        END if length == 2 => Ok(Frame::End { channel: first }),
        HELLO..=REPLY | TAINT => {
            let mut payload = vec![0; length - 1];
            payload[0] = first;
            rest(reader, &mut payload[1..])?;
            match kind {
                HELLO => decode("hello", &payload).map(Frame::Hello),
                WELCOME => decode("welcome", &payload).map(Frame::Welcome),
                REFUSED => decode("refusal", &payload).map(Frame::Refused),
                REQUEST => decode("request", &payload).map(Frame::Request),
                REPLY => decode("reply", &payload).map(Frame::Reply),
                _ => decode("taint", &payload).map(Frame::Taint),
            }
        }
        END => Err(FrameError::Malformed {
            name: "end",
            length: length - 1,
            reason: "it has more than a channel".to_owned(),
        }),
        _ => Err(FrameError::UnknownKind { kind, length }),
    }
}

/// Writes one frame, with a single `write_all` unless it is `Data` of more than a few KiB.
///
/// Errors: [`FrameError::TooLong`], with nothing written, and what the writer says.
pub fn write_frame(writer: &mut impl Write, frame: &Frame) -> Result<(), FrameError> {
    match frame {
        Frame::Hello(message) => write_message(writer, HELLO, message),
        Frame::Welcome(message) => write_message(writer, WELCOME, message),
        Frame::Refused(message) => write_message(writer, REFUSED, message),
        Frame::Request(message) => write_message(writer, REQUEST, message),
        Frame::Reply(message) => write_message(writer, REPLY, message),
        Frame::Data { channel, bytes } => write_data_frame(writer, *channel, bytes),
        Frame::Taint(message) => write_message(writer, TAINT, message),
        Frame::End { channel } => Ok(writer.write_all(&[0, 0, 0, 2, END, *channel])?),
    }
}

/// Writes bytes as `Data` frames of at most [`DATA_CHUNK`] bytes, without copying them; nothing for no bytes.
pub fn write_data(writer: &mut impl Write, channel: u8, bytes: &[u8]) -> Result<(), FrameError> {
    bytes
        .chunks(DATA_CHUNK)
        .try_for_each(|chunk| write_data_frame(writer, channel, chunk))
}

fn write_data_frame(writer: &mut impl Write, channel: u8, bytes: &[u8]) -> Result<(), FrameError> {
    let length = length_field(2 + bytes.len())?;
    let header = [length[0], length[1], length[2], length[3], DATA, channel];
    if bytes.len() <= COPY_LIMIT {
        let mut frame = [0; LENGTH + 2 + COPY_LIMIT];
        let frame = &mut frame[..header.len() + bytes.len()];
        frame[..header.len()].copy_from_slice(&header);
        frame[header.len()..].copy_from_slice(bytes);
        return Ok(writer.write_all(frame)?);
    }
    let mut written = 0;
    while written < header.len() {
        match writer.write_vectored(&[IoSlice::new(&header[written..]), IoSlice::new(bytes)]) {
            Ok(0) => return Err(io::Error::from(ErrorKind::WriteZero).into()),
            Ok(n) => written += n,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(writer.write_all(&bytes[written - header.len()..])?)
}

fn write_message(writer: &mut impl Write, kind: u8, message: &impl Serialize) -> Result<(), FrameError> {
    let mut frame = vec![0, 0, 0, 0, kind];
    // Writing to memory does not fail, and these types have nothing that MessagePack lacks.
    rmp_serde::encode::write(&mut frame, message).map_err(io::Error::other)?;
    let length = length_field(frame.len() - LENGTH)?;
    frame[..LENGTH].copy_from_slice(&length);
    Ok(writer.write_all(&frame)?)
}

/// The length field for this many bytes of kind and payload.
fn length_field(length: usize) -> Result<[u8; LENGTH], FrameError> {
    match u32::try_from(length) {
        Ok(field) if length <= MAX_FRAME - LENGTH => Ok(field.to_be_bytes()),
        _ => Err(FrameError::TooLong {
            length: (length + LENGTH) as u64,
            limit: MAX_FRAME,
        }),
    }
}

fn decode<T: DeserializeOwned>(name: &'static str, payload: &[u8]) -> Result<T, FrameError> {
    let malformed = |reason| FrameError::Malformed {
        name,
        length: payload.len(),
        reason,
    };
    let mut left = payload;
    let mut decoder = rmp_serde::Deserializer::new(&mut left);
    decoder.set_max_depth(MAX_DEPTH);
    let message = T::deserialize(&mut decoder).map_err(|error| malformed(error.to_string()))?;
    match left.len() {
        0 => Ok(message),
        extra => Err(malformed(format!("{extra} bytes follow it"))),
    }
}

/// Reads until the buffer is full or the stream ends; returns how many bytes came.
fn fill(reader: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match reader.read(&mut buffer[filled..]) {
            Ok(0) => break,
            Ok(n) => filled += n,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

/// Fills the whole buffer with what follows the head of a frame.
fn rest(reader: &mut impl Read, buffer: &mut [u8]) -> Result<(), FrameError> {
    match fill(reader, buffer)? {
        n if n == buffer.len() => Ok(()),
        n => Err(FrameError::Truncated {
            got: HEAD + n,
            wanted: HEAD + buffer.len(),
        }),
    }
}
