//! The user's terminal: whether there is one, its size, raw for as long as a command elsewhere has it.
//!
//! Input: this process's standard streams. Output: what a terminal elsewhere has to be like. Not here:
//! passing bytes on, and what is drawn on a terminal.

use std::io::{self, IsTerminal};
use std::time::{Duration, Instant};

use rustix::termios::{OptionalActions, Termios, tcgetattr, tcgetwinsize, tcsetattr};

/// Time within which three Ctrl-C mean that nobody wants to wait.
const HURRY: Duration = Duration::from_secs(1);

/// Which of this process's standard streams are a terminal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Terminals {
    /// Standard input.
    pub stdin: bool,
    /// Standard output.
    pub stdout: bool,
    /// Standard error.
    pub stderr: bool,
}

impl Terminals {
    /// As they are now.
    pub fn of_process() -> Terminals {
        Terminals {
            stdin: io::stdin().is_terminal(),
            stdout: io::stdout().is_terminal(),
            stderr: io::stderr().is_terminal(),
        }
    }

    /// Whether any is.
    pub fn any(self) -> bool {
        self.stdin || self.stdout || self.stderr
    }

    /// Whether somebody types and sees what comes of it there, so that the terminal elsewhere does all that a
    /// terminal does and this one nothing.
    pub fn interactive(self) -> bool {
        self.stdin && self.stdout
    }
}

/// Rows and columns of the terminal on any standard stream; `None` when there is none or it has no size.
pub fn size() -> Option<(u16, u16)> {
    let size = tcgetwinsize(io::stdout())
        .or_else(|_| tcgetwinsize(io::stderr()))
        .or_else(|_| tcgetwinsize(io::stdin()));
    size.ok()
        .filter(|size| size.ws_col > 0 && size.ws_row > 0)
        .map(|size| (size.ws_row, size.ws_col))
}

/// Keeps the terminal on standard input raw until this is dropped.
#[derive(Debug)]
pub struct RawTerminal(Termios);

impl RawTerminal {
    /// Makes the terminal raw.
    ///
    /// # Errors
    /// When standard input is not a terminal.
    pub fn enter() -> io::Result<Self> {
        let before = tcgetattr(io::stdin())?;
        let mut raw = before.clone();
        raw.make_raw();
        tcsetattr(io::stdin(), OptionalActions::Drain, &raw)?;
        Ok(Self(before))
    }
}

impl Drop for RawTerminal {
    fn drop(&mut self) {
        let _ = tcsetattr(io::stdin(), OptionalActions::Drain, &self.0);
    }
}

/// Recognises somebody who is in a hurry: three Ctrl-C within a second.
#[derive(Debug, Default)]
pub struct Hurry(Vec<Instant>);

impl Hurry {
    /// Notes that it was pressed so many times; whether that makes three within a second.
    pub fn pressed(&mut self, times: usize, now: Instant) -> bool {
        self.0.extend(std::iter::repeat_n(now, times));
        self.0.retain(|&then| now.duration_since(then) < HURRY);
        self.0.len() >= 3
    }

    /// The same for what was typed.
    pub fn typed(&mut self, bytes: &[u8], now: Instant) -> bool {
        self.pressed(bytes.iter().filter(|&&byte| byte == 3).count(), now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_times_ctrl_c_in_a_second_is_a_hurry() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut hurry = Hurry::default();
        assert!(!hurry.typed(b"\x03", at(0)));
        assert!(!hurry.typed(b"a", at(600)));
        assert!(!hurry.typed(b"\x03", at(700)));
        assert!(!hurry.typed(b"a\x03", at(1100)), "the first is too long ago");
        assert!(hurry.typed(b"\x03", at(1200)));
        assert!(Hurry::default().typed(b"\x03\x03\x03", at(0)));
    }
}
