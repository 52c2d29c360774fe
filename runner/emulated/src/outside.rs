//! Provium's own standard streams, terminal and signals, for as long as it stands in for a command inside.
//!
//! Enters: what the user types, sends and resizes. Leaves: bytes and signals to pass on; output on the right
//! stream. Absent on purpose: the emulated host.

use std::io::{self, IsTerminal, Read};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use rustix::termios::{OptionalActions, Termios, tcgetattr, tcgetwinsize, tcsetattr};
use signal_hook::SigId;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGWINCH};

use super::frame::{Terminal, WindowSize};

/// What the command reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stdin {
    /// Nothing.
    Null,
    /// What comes in here; a terminal becomes raw, so that the command can be used as if it ran here.
    Inherit,
}

/// So much input is kept to be given again after a freeze.
const KEPT: usize = 1 << 20;
/// Three Ctrl-C typed within this time end the emulated host, should the command take no notice.
const HURRY: Duration = Duration::from_secs(1);

/// Standard input of the command.
pub(crate) struct Input {
    open: bool,
    /// What was read, for the next start.
    kept: Vec<u8>,
    /// More was read than is kept.
    lost: bool,
    /// How much of `kept` has been given to the present start.
    given: usize,
    terminal: bool,
    typed: Vec<Instant>,
}

/// What reading standard input came to.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Typed {
    Bytes(Vec<u8>),
    End,
    /// Ctrl-C, three times within a second.
    Hurry,
}

impl Input {
    pub(crate) fn new(stdin: Stdin, terminal: bool) -> Self {
        Self {
            open: stdin == Stdin::Inherit,
            kept: Vec::new(),
            lost: false,
            given: 0,
            terminal,
            typed: Vec::new(),
        }
    }

    /// A new start begins; false when what earlier ones have read cannot be given again.
    pub(crate) fn rewind(&mut self) -> bool {
        self.given = 0;
        !self.lost
    }

    /// What was read for an earlier start and has to be given before anything else.
    pub(crate) fn again(&mut self, limit: usize) -> Option<Typed> {
        let rest = &self.kept[self.given..];
        if rest.is_empty() {
            return (!self.open).then_some(Typed::End);
        }
        let bytes = rest[..rest.len().min(limit)].to_vec();
        self.given += bytes.len();
        Some(Typed::Bytes(bytes))
    }

    /// Whether standard input itself may be read now.
    pub(crate) fn wants(&self) -> bool {
        self.open && self.given == self.kept.len()
    }

    /// Reads, after poll has said that there is something.
    pub(crate) fn read(&mut self, from: &mut impl Read, limit: usize) -> io::Result<Typed> {
        let mut bytes = vec![0; limit];
        let len = match from.read(&mut bytes) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Ok(Typed::Bytes(Vec::new())),
            // A terminal that has gone.
            Err(error) if self.terminal && error.raw_os_error() == Some(libc::EIO) => 0,
            len => len?,
        };
        if len == 0 {
            self.open = false;
            return Ok(Typed::End);
        }
        bytes.truncate(len);
        if self.terminal {
            // The user is there and can type again.
            if self.hurries(&bytes, Instant::now()) {
                return Ok(Typed::Hurry);
            }
        } else if self.kept.len() + len > KEPT {
            (self.lost, self.given) = (true, 0);
            self.kept = Vec::new();
        } else if !self.lost {
            self.kept.extend_from_slice(&bytes);
            self.given = self.kept.len();
        }
        Ok(Typed::Bytes(bytes))
    }

    fn hurries(&mut self, bytes: &[u8], now: Instant) -> bool {
        let count = bytes.iter().filter(|&&byte| byte == 3).count();
        self.typed.extend(std::iter::repeat_n(now, count));
        self.typed.retain(|&then| now.duration_since(then) < HURRY);
        self.typed.len() >= 3
    }
}

/// The signals Provium stands in for, each on a socket that poll can watch.
pub(crate) struct Signals {
    sockets: Vec<(i32, UnixStream)>,
    ids: Vec<SigId>,
}

impl Signals {
    pub(crate) fn watch() -> io::Result<Self> {
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

    pub(crate) fn sockets(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.sockets.iter().map(|(_, socket)| socket.as_fd())
    }

    /// What came since the last call, each as often as it came.
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

/// Makes the terminal on standard input raw until it is dropped.
pub(crate) struct Raw(Option<Termios>);

impl Raw {
    pub(crate) fn enter() -> io::Result<Self> {
        let before = tcgetattr(io::stdin())?;
        let mut raw = before.clone();
        raw.make_raw();
        tcsetattr(io::stdin(), OptionalActions::Drain, &raw)?;
        Ok(Self(Some(before)))
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        if let Some(before) = self.0.take() {
            let _ = tcsetattr(io::stdin(), OptionalActions::Drain, &before);
        }
    }
}

/// Which standard streams are terminals here and thus should be inside.
pub(crate) fn terminal(stdin: Stdin) -> Option<Terminal> {
    let terminal = Terminal {
        stdin: stdin == Stdin::Inherit && io::stdin().is_terminal(),
        stdout: io::stdout().is_terminal(),
        stderr: io::stderr().is_terminal(),
        raw: stdin == Stdin::Inherit && io::stdin().is_terminal() && io::stdout().is_terminal(),
        size: window_size().unwrap_or(WindowSize {
            columns: 80,
            rows: 24,
        }),
    };
    (terminal.stdin || terminal.stdout || terminal.stderr).then_some(terminal)
}

/// The size of the terminal on any standard stream.
pub(crate) fn window_size() -> Option<WindowSize> {
    let size = tcgetwinsize(io::stdout())
        .or_else(|_| tcgetwinsize(io::stderr()))
        .or_else(|_| tcgetwinsize(io::stdin()));
    size.ok()
        .filter(|size| size.ws_col > 0 && size.ws_row > 0)
        .map(|size| WindowSize {
            columns: size.ws_col,
            rows: size.ws_row,
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_all(input: &mut Input, mut from: &[u8]) {
        while input.read(&mut from, 100_000).unwrap() != Typed::End {}
    }

    #[test]
    fn input_is_given_again_to_the_next_start() {
        let mut input = Input::new(Stdin::Inherit, false);
        assert_eq!(input.again(4), None);
        assert!(input.wants());
        read_all(&mut input, b"abcdef");
        assert!(!input.wants());
        assert!(input.rewind());
        assert_eq!(input.again(4), Some(Typed::Bytes(b"abcd".to_vec())));
        assert_eq!(input.again(4), Some(Typed::Bytes(b"ef".to_vec())));
        assert_eq!(input.again(4), Some(Typed::End));
    }

    #[test]
    fn input_that_is_too_long_to_keep_cannot_be_given_again() {
        let mut input = Input::new(Stdin::Inherit, false);
        read_all(&mut input, &vec![b'x'; KEPT]);
        assert!(input.rewind());
        let mut input = Input::new(Stdin::Inherit, false);
        read_all(&mut input, &vec![b'x'; KEPT + 1]);
        assert!(!input.rewind());
    }

    #[test]
    fn no_input_ends_at_once() {
        let mut input = Input::new(Stdin::Null, false);
        assert!(!input.wants());
        assert_eq!(input.again(4), Some(Typed::End));
    }

    #[test]
    fn three_times_ctrl_c_in_a_second_is_a_hurry() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut input = Input::new(Stdin::Inherit, true);
        assert!(!input.hurries(b"\x03", at(0)));
        assert!(!input.hurries(b"\x03", at(700)));
        assert!(!input.hurries(b"a\x03", at(1100)), "the first is too long ago");
        assert!(input.hurries(b"\x03", at(1200)));
        assert!(Input::new(Stdin::Inherit, true).hurries(b"\x03\x03\x03", at(0)));
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
