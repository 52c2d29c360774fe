//! The words between Provium and the Provium inside its emulated host, and how they cross the byte stream.
//!
//! Enters: messages on one side, bytes in pieces of any size on the other. Leaves: bytes, messages. Absent on
//! purpose: the stream itself, which is a virtio serial port inside and a socket pair outside.
//!
//! A frame is its length (u32, little-endian) and one message in MessagePack.

use std::path::PathBuf;
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

/// Longest message: a command line and an environment may have 2 MiB each.
pub(crate) const MAX_FRAME: usize = 8 << 20;
/// Bytes of a stream in one message.
pub(crate) const CHUNK: usize = 32 << 10;
/// Bytes of standard input that may be under way to the command.
pub(crate) const STDIN_WINDOW: usize = 8 * CHUNK;

/// From the emulated host.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) enum FromInside {
    /// File systems stand, the [`Plan`] is awaited.
    Ready,
    /// The command runs.
    Started,
    /// Bytes of its standard output.
    Stdout(ByteBuf),
    /// Bytes of its standard error.
    Stderr(ByteBuf),
    /// So many bytes of standard input reached it (or were dropped, for it closed its end).
    StdinTaken(u32),
    /// A sign of life, once a second.
    Heartbeat,
    /// It ended, all its output came before, and what it wrote is written. As a shell has it: exit code, or
    /// 128 and the signal's number.
    Exited(i32),
    /// The emulated host cannot run it: why.
    Failed(String),
}

/// To the emulated host.
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
    /// Nothing; the interrupt that brings it is what counts.
    Nudge,
}

/// A command and all that a process takes over from the one that starts it.
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
    /// User, group and further groups.
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) groups: Vec<u32>,
    /// File mode creation mask.
    pub(crate) umask: u32,
    /// Open files, soft and hard limit.
    pub(crate) open_files: (Option<u64>, Option<u64>),
    /// The time when the plan is sent, since 1970: an emulated clock starts at a whole second.
    pub(crate) now: Duration,
    /// Which standard streams are a terminal, if any is.
    pub(crate) terminal: Option<Terminal>,
}

/// Which of the command's streams are its terminal, and how that behaves.
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

/// Why bytes are not a frame.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FrameError {
    #[error("a message of {0} bytes, which is more than the {MAX_FRAME} there may be")]
    TooLong(usize),
    #[error("a message that cannot be read: {0}")]
    Malformed(#[from] rmp_serde::decode::Error),
}

/// A message as a frame.
///
/// # Errors
/// When it is too long; nothing else can go wrong with plain data in memory.
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

/// Puts messages together from bytes.
#[derive(Debug, Default)]
pub(crate) struct Decoder {
    bytes: Vec<u8>,
    /// Bytes at the front that have been handed out.
    read: usize,
}

impl Decoder {
    /// Takes bytes as they come.
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        if self.read > 0 {
            self.bytes.drain(..self.read);
            self.read = 0;
        }
        self.bytes.extend_from_slice(bytes);
    }

    /// The next complete message.
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
