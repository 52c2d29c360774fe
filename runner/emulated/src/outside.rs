//! This process's standard input, terminal and signals, which it passes on to a command inside.
//!
//! Input: what the user types, signals and resizes. Output: bytes, signals and sizes to pass on. Not here:
//! the emulated host.

use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::Instant;

use provium_base::terminal::{self, Hurry, Terminals};
use rustix::io::Errno;
use signal_hook::SigId;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGWINCH};

use crate::frame::{Terminal, WindowSize};

/// Standard input of a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stdin {
    /// Nothing.
    Null,
    /// This process's standard input; a terminal becomes raw, so that the command can be used as if it ran
    /// here.
    Inherit,
}

/// What a command reads from and writes to in place of this process's standard streams.
#[derive(Debug)]
pub struct Streams {
    /// Its standard input; without, nothing.
    pub stdin: Option<OwnedFd>,
    /// Its standard output.
    pub stdout: OwnedFd,
    /// Its standard error.
    pub stderr: OwnedFd,
}

impl Streams {
    /// This process's own.
    ///
    /// # Errors
    /// When they cannot be duplicated.
    pub(crate) fn of_process(stdin: Stdin) -> io::Result<Streams> {
        Ok(Streams {
            stdin: match stdin {
                Stdin::Null => None,
                Stdin::Inherit => Some(io::stdin().as_fd().try_clone_to_owned()?),
            },
            stdout: io::stdout().as_fd().try_clone_to_owned()?,
            stderr: io::stderr().as_fd().try_clone_to_owned()?,
        })
    }
}

/// Bytes of input that are kept to be given again after a freeze.
const MAX_REPLAY: usize = 1 << 20;

/// Standard input of the command, kept so that each start of the emulated host is given the same.
pub(crate) struct CommandStdin {
    /// Whether this process's standard input may have more.
    open: bool,
    /// Bytes that were read, for the next start.
    kept: Vec<u8>,
    /// Whether more was read than is kept.
    lost: bool,
    /// Number of bytes of `kept` that the present start has been given.
    given: usize,
    /// Whether it is a terminal.
    terminal: bool,
    hurry: Hurry,
}

/// Result of reading standard input.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum StdinRead {
    /// Bytes for the command; may be empty.
    Bytes(Vec<u8>),
    /// Its end.
    End,
    /// Ctrl-C, three times within a second.
    Abort,
}

impl CommandStdin {
    /// Standard input before the first start: whether there is any, and whether it is a terminal.
    pub(crate) fn new(open: bool, terminal: bool) -> Self {
        Self {
            open,
            kept: Vec::new(),
            lost: false,
            given: 0,
            terminal,
            hurry: Hurry::default(),
        }
    }

    /// Begins a new start; false when the bytes that earlier ones have read were not all kept.
    pub(crate) fn rewind(&mut self) -> bool {
        self.given = 0;
        !self.lost
    }

    /// Kept bytes that the present start has not been given yet, or the end; `None` when there are none, so
    /// that standard input must be read.
    pub(crate) fn replay(&mut self, limit: usize) -> Option<StdinRead> {
        let rest = &self.kept[self.given..];
        if rest.is_empty() {
            return (!self.open).then_some(StdinRead::End);
        }
        let bytes = rest[..rest.len().min(limit)].to_vec();
        self.given += bytes.len();
        Some(StdinRead::Bytes(bytes))
    }

    /// Whether standard input itself is to be read now.
    pub(crate) fn is_live(&self) -> bool {
        self.open && self.given == self.kept.len()
    }

    /// Reads up to `limit` bytes, after poll has said that there is something.
    ///
    /// # Errors
    /// Those of the read.
    pub(crate) fn read(&mut self, from: &mut impl Read, limit: usize) -> io::Result<StdinRead> {
        let mut bytes = vec![0; limit];
        let len = match from.read(&mut bytes) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {
                return Ok(StdinRead::Bytes(Vec::new()));
            }
            // The terminal has been closed.
            Err(error) if self.terminal && error.raw_os_error() == Some(Errno::IO.raw_os_error()) => 0,
            len => len?,
        };
        if len == 0 {
            self.open = false;
            return Ok(StdinRead::End);
        }
        bytes.truncate(len);
        if self.terminal {
            // The user is there and can type again.
            if self.hurry.typed(&bytes, Instant::now()) {
                return Ok(StdinRead::Abort);
            }
        } else if self.kept.len() + len > MAX_REPLAY {
            (self.lost, self.given) = (true, 0);
            self.kept = Vec::new();
        } else if !self.lost {
            self.kept.extend_from_slice(&bytes);
            self.given = self.kept.len();
        }
        Ok(StdinRead::Bytes(bytes))
    }
}

/// The signals that are passed on, each on a socket that poll can watch.
#[derive(Debug)]
pub struct Signals {
    sockets: Vec<(i32, UnixStream)>,
    ids: Vec<SigId>,
}

impl Signals {
    /// Catches SIGINT, SIGTERM, SIGHUP and SIGWINCH until this is dropped.
    ///
    /// # Errors
    /// When a socket cannot be made or a handler not be installed.
    pub fn watch() -> io::Result<Self> {
        let mut signals = Self {
            sockets: Vec::new(),
            ids: Vec::new(),
        };
        for signal in [SIGINT, SIGTERM, SIGHUP, SIGWINCH] {
            let (read, write) = UnixStream::pair()?;
            read.set_nonblocking(true)?;
            signals
                .ids
                .push(signal_hook::low_level::pipe::register(signal, write)?);
            signals.sockets.push((signal, read));
        }
        Ok(signals)
    }

    /// The sockets, readable when a signal has come.
    pub(crate) fn sockets(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.sockets.iter().map(|(_, socket)| socket.as_fd())
    }

    /// Numbers of the signals that came since the last call, each as often as it came.
    pub(crate) fn take(&mut self) -> Vec<i32> {
        let mut came = Vec::new();
        for (signal, socket) in &mut self.sockets {
            let mut bytes = [0; 16];
            while let Ok(len @ 1..) = socket.read(&mut bytes) {
                came.extend(std::iter::repeat_n(*signal, len));
            }
        }
        came
    }
}

impl Drop for Signals {
    fn drop(&mut self) {
        for id in self.ids.drain(..) {
            signal_hook::low_level::unregister(id);
        }
    }
}

/// Streams and signals of the user, which stay the same over all starts.
pub(crate) struct UserInput {
    pub(crate) streams: Streams,
    pub(crate) stdin: CommandStdin,
    pub(crate) signals: Signals,
}

/// Which standard streams are terminals here and so must be inside; `None` when none is.
pub(crate) fn terminal(stdin: Stdin) -> Option<Terminal> {
    let mut here = Terminals::of_process();
    here.stdin &= stdin == Stdin::Inherit;
    here.any().then(|| Terminal {
        stdin: here.stdin,
        stdout: here.stdout,
        stderr: here.stderr,
        raw: here.interactive(),
        size: window_size().unwrap_or(WindowSize {
            columns: 80,
            rows: 24,
        }),
    })
}

/// Size of the terminal on any standard stream; `None` when there is none or it has no size.
pub(crate) fn window_size() -> Option<WindowSize> {
    terminal::size().map(|(rows, columns)| WindowSize { columns, rows })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_all(input: &mut CommandStdin, mut from: &[u8]) {
        while input.read(&mut from, 100_000).unwrap() != StdinRead::End {}
    }

    #[test]
    fn input_is_given_again_to_the_next_start() {
        let mut input = CommandStdin::new(true, false);
        assert_eq!(input.replay(4), None);
        assert!(input.is_live());
        read_all(&mut input, b"abcdef");
        assert!(!input.is_live());
        assert!(input.rewind());
        assert_eq!(input.replay(4), Some(StdinRead::Bytes(b"abcd".to_vec())));
        assert_eq!(input.replay(4), Some(StdinRead::Bytes(b"ef".to_vec())));
        assert_eq!(input.replay(4), Some(StdinRead::End));
    }

    #[test]
    fn input_that_is_too_long_to_keep_cannot_be_given_again() {
        let mut input = CommandStdin::new(true, false);
        read_all(&mut input, &vec![b'x'; MAX_REPLAY]);
        assert!(input.rewind());
        let mut input = CommandStdin::new(true, false);
        read_all(&mut input, &vec![b'x'; MAX_REPLAY + 1]);
        assert!(!input.rewind());
    }

    #[test]
    fn no_input_ends_at_once() {
        let mut input = CommandStdin::new(false, false);
        assert!(!input.is_live());
        assert_eq!(input.replay(4), Some(StdinRead::End));
    }

    #[test]
    fn signals_are_counted() {
        let mut signals = Signals::watch().unwrap();
        signal_hook::low_level::raise(SIGWINCH).unwrap();
        signal_hook::low_level::raise(SIGWINCH).unwrap();
        assert_eq!(signals.take(), [SIGWINCH, SIGWINCH]);
        assert_eq!(signals.take(), [0; 0]);
    }
}
