//! The messages between Provium and the Provium inside its emulated host, and their encoding on the byte
//! stream.
//!
//! Input: messages on one side, bytes in pieces of any size on the other. Output: bytes, messages. Not here:
//! the stream itself, which is a virtio serial port inside and a socket pair outside.
//!
//! A frame is its length (u32, little-endian) and one message in MessagePack.

use std::path::PathBuf;
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

/// Bytes of the longest message: a command line and an environment may have 2 MiB each.
pub(crate) const MAX_FRAME: usize = 8 << 20;
/// Most bytes of a standard stream in one message.
pub(crate) const CHUNK: usize = 32 << 10;
/// Most bytes of standard input that are sent before the command has taken them.
pub(crate) const STDIN_WINDOW: usize = 8 * CHUNK;

/// A message from the emulated host.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) enum FromInside {
    /// The root file system is mounted; the [`Plan`] is expected.
    Ready,
    /// The command has been started.
    Started,
    /// Bytes of its standard output.
    Stdout(ByteBuf),
    /// Bytes of its standard error.
    Stderr(ByteBuf),
    /// Number of bytes of standard input that reached the command, or were dropped because it closed its end.
    StdinTaken(u32),
    /// Sign of life, once a second.
    Heartbeat,
    /// The command ended; all its output was sent before, and the files it wrote are synced. Its exit code,
    /// or 128 and the signal's number.
    Exited(i32),
    /// The emulated host cannot run the command: why, in words.
    Failed(String),
}

/// A message to the emulated host.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) enum ToInside {
    /// What to run; the first message.
    Plan(Box<Plan>),
    /// Bytes for its standard input.
    Stdin(ByteBuf),
    /// Its standard input ends.
    StdinEnd,
    /// A signal for its process group.
    Signal(i32),
    /// The terminal's size has changed.
    Resize(WindowSize),
    /// Nothing; it is sent for the interrupt that it raises inside.
    Nudge,
}

/// A command and everything that a process inherits from the one that starts it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Plan {
    /// Program and arguments.
    pub(crate) argv: Vec<ByteBuf>,
    /// The environment, complete.
    pub(crate) env: Vec<(ByteBuf, ByteBuf)>,
    /// Working directory.
    pub(crate) cwd: ByteBuf,
    /// Folders that are shared for writing: the one at index N has the mount tag `rwN`.
    pub(crate) writable: Vec<PathBuf>,
    /// User, group and supplementary groups.
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) groups: Vec<u32>,
    /// File mode creation mask.
    pub(crate) umask: u32,
    /// Soft and hard limit of open files; `None` for no limit.
    pub(crate) open_files: (Option<u64>, Option<u64>),
    /// The time when the plan is sent, since 1970: an emulated clock starts at a whole second.
    pub(crate) now: Duration,
    /// The command's terminal; `None` when no standard stream is one.
    pub(crate) terminal: Option<Terminal>,
}

/// Which of the command's standard streams are its terminal, and the terminal's mode and size.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Terminal {
    pub(crate) stdin: bool,
    pub(crate) stdout: bool,
    pub(crate) stderr: bool,
    /// Whether the terminal outside is raw, so that echo, line editing and Ctrl-C are up to the one inside.
    pub(crate) raw: bool,
    pub(crate) size: WindowSize,
}

/// A terminal's size in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct WindowSize {
    pub(crate) columns: u16,
    pub(crate) rows: u16,
}

/// Why a message cannot be encoded or decoded.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FrameError {
    /// Longer than [`MAX_FRAME`]; the length in bytes.
    #[error("a message of {0} bytes, which is more than the {MAX_FRAME} there may be")]
    TooLong(usize),
    /// Not a message.
    #[error("a message that cannot be read: {0}")]
    Malformed(#[from] rmp_serde::decode::Error),
}

/// Encodes a message as a frame.
///
/// # Errors
/// [`FrameError::TooLong`]; nothing else can fail with plain data in memory.
pub(crate) fn encode<T: Serialize>(message: &T) -> Result<Vec<u8>, FrameError> {
    let mut frame = vec![0; 4];
    rmp_serde::encode::write(&mut frame, message).expect("plain data is written to memory");
    let len = frame.len() - 4;
    if len > MAX_FRAME {
        return Err(FrameError::TooLong(len));
    }
    frame[..4].copy_from_slice(&(len as u32).to_le_bytes());
    Ok(frame)
}

/// Number of messages from inside that `bytes` begin with, of which the first `piece` come before the rest.
/// For who tries the decoder with bytes that no emulated host sends.
///
/// # Errors
/// What is wrong with the bytes behind those.
pub fn count_messages(bytes: &[u8], piece: usize) -> Result<usize, String> {
    let (first, second) = bytes.split_at(piece.min(bytes.len()));
    let (mut decoder, mut count) = (Decoder::default(), 0);
    for bytes in [first, second] {
        decoder.push(bytes);
        while let Some(message) = decoder.next::<FromInside>().map_err(|error| error.to_string())? {
            let again = encode(&message).map_err(|error| error.to_string())?;
            let mut back = Decoder::default();
            back.push(&again);
            assert_eq!(back.next().map_err(|error| error.to_string())?, Some(message));
            count += 1;
        }
    }
    Ok(count)
}

/// Decodes messages from bytes that come in pieces.
#[derive(Debug, Default)]
pub(crate) struct Decoder {
    bytes: Vec<u8>,
    /// Number of bytes at the front that have been decoded.
    read: usize,
}

impl Decoder {
    /// Appends bytes that were received.
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        if self.read > 0 {
            self.bytes.drain(..self.read);
            self.read = 0;
        }
        self.bytes.extend_from_slice(bytes);
    }

    /// The next message; `None` until all its bytes were received.
    ///
    /// # Errors
    /// When the length is too large, or the bytes are not such a message.
    pub(crate) fn next<T: DeserializeOwned>(&mut self) -> Result<Option<T>, FrameError> {
        let rest = &self.bytes[self.read..];
        let Some((head, body)) = rest.split_first_chunk() else {
            return Ok(None);
        };
        let len = u32::from_le_bytes(*head) as usize;
        if len > MAX_FRAME {
            return Err(FrameError::TooLong(len));
        }
        let Some(body) = body.get(..len) else {
            return Ok(None);
        };
        let message = rmp_serde::from_slice(body)?;
        self.read += 4 + len;
        Ok(Some(message))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn messages() -> Vec<FromInside> {
        vec![
            FromInside::Ready,
            FromInside::Stdout(ByteBuf::from(vec![0, 255, 10])),
            FromInside::Stderr(ByteBuf::new()),
            FromInside::StdinTaken(7),
            FromInside::Heartbeat,
            FromInside::Failed("no /lower".into()),
            FromInside::Exited(-1),
        ]
    }

    #[test]
    fn messages_cross_in_pieces_of_any_size() {
        let bytes: Vec<u8> = messages()
            .iter()
            .flat_map(|message| encode(message).unwrap())
            .collect();
        for size in [1, 2, 3, 7, bytes.len()] {
            let mut decoder = Decoder::default();
            let mut seen: Vec<FromInside> = Vec::new();
            for piece in bytes.chunks(size) {
                decoder.push(piece);
                while let Some(message) = decoder.next().unwrap() {
                    seen.push(message);
                }
            }
            assert_eq!(seen, messages(), "pieces of {size}");
        }
    }

    #[test]
    fn plans_cross_whole_names_that_are_not_utf8_included() {
        let plan = Plan {
            argv: vec![ByteBuf::from(&b"sh\xff"[..])],
            env: vec![(ByteBuf::from(&b"A"[..]), ByteBuf::from(&b"\xfe"[..]))],
            cwd: ByteBuf::from(&b"/"[..]),
            writable: vec!["/a b".into()],
            uid: 1,
            gid: 2,
            groups: vec![3],
            umask: 0o22,
            open_files: (Some(1024), None),
            now: Duration::new(1_700_000_000, 5),
            terminal: Some(Terminal {
                stdin: false,
                stdout: true,
                stderr: true,
                raw: false,
                size: WindowSize {
                    columns: 80,
                    rows: 24,
                },
            }),
        };
        let message = ToInside::Plan(Box::new(plan));
        let mut decoder = Decoder::default();
        decoder.push(&encode(&message).unwrap());
        assert_eq!(decoder.next::<ToInside>().unwrap(), Some(message));
    }

    #[test]
    fn a_length_beyond_the_limit_is_refused_before_its_bytes_come() {
        let mut decoder = Decoder::default();
        decoder.push(&(MAX_FRAME as u32 + 1).to_le_bytes());
        assert!(matches!(
            decoder.next::<FromInside>(),
            Err(FrameError::TooLong(_))
        ));
        let long = ToInside::Stdin(ByteBuf::from(vec![0; MAX_FRAME + 1]));
        assert!(matches!(encode(&long), Err(FrameError::TooLong(_))));
    }

    #[test]
    fn any_bytes_are_messages_or_an_error() {
        // A small deterministic walk over byte strings; lengths are kept small so that bodies complete.
        let mut x = 1u32;
        for _ in 0..20_000 {
            let mut body = [0u8; 9];
            for byte in &mut body {
                x = x.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                *byte = (x >> 24) as u8;
            }
            let mut decoder = Decoder::default();
            decoder.push(&[9, 0, 0, 0]);
            decoder.push(&body);
            let _ = decoder.next::<FromInside>();
            let _ = decoder.next::<ToInside>();
        }
    }
}
