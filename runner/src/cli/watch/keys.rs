//! Keys that a user presses while files are watched.
//!
//! Input: the terminal on standard input. Output: keys, one by one, without a newline behind each. Not here:
//! what they do; and Ctrl-C, which stays a signal.

use std::io::{self, BufRead, IsTerminal};
use std::sync::Arc;
use std::thread;

use parking_lot::Mutex;
use rustix::termios::{LocalModes, OptionalActions, SpecialCodeIndex, Termios, tcgetattr, tcsetattr};

use crate::cli::interrupt;
use crate::report::Output;

/// What a key asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Key {
    /// `a`: run all.
    All,
    /// `f`: run what failed.
    Failed,
    /// Enter: run the same again.
    Again,
    /// `p`, then a line: run only tests with this text in their names; all of them if it is empty.
    Pattern(String),
    /// `q`: end.
    Quit,
}

/// Keeps the terminal giving keys one by one until it is dropped.
pub(super) struct Keys(Arc<Mutex<Terminal>>);

/// The terminal's modes.
struct Terminal {
    before: Termios,
    /// Whether it is to be left as it was from now on.
    over: bool,
}

impl Terminal {
    fn give_back(&self) {
        let _ = tcsetattr(io::stdin(), OptionalActions::Now, &self.before);
    }

    /// Makes it give keys one by one and show none of them.
    fn one_by_one(&self) {
        let mut modes = self.before.clone();
        modes.local_modes -= LocalModes::ICANON | LocalModes::ECHO;
        modes.special_codes[SpecialCodeIndex::VMIN] = 1;
        modes.special_codes[SpecialCodeIndex::VTIME] = 0;
        if !self.over {
            let _ = tcsetattr(io::stdin(), OptionalActions::Now, &modes);
        }
    }
}

impl Keys {
    /// Tells `pressed` of keys, if standard input is a terminal; `output` is where a pattern is asked for.
    pub(super) fn begin(output: Arc<Output>, pressed: impl Fn(Key) + Send + 'static) -> Option<Keys> {
        if !io::stdin().is_terminal() {
            return None;
        }
        let before = tcgetattr(io::stdin()).ok()?;
        let terminal = Arc::new(Mutex::new(Terminal { before, over: false }));
        terminal.lock().one_by_one();
        let (last, read) = (Arc::clone(&terminal), Arc::clone(&terminal));
        interrupt::at_once(move || {
            if let Some(terminal) = last.try_lock() {
                terminal.give_back();
            }
        });
        // It waits in a read when the process ends.
        let reader = thread::Builder::new().name("keys".into()).spawn(move || {
            let mut stdin = io::stdin().lock();
            while let Some(key) = next(&mut stdin, &read, &output) {
                let quit = key == Key::Quit;
                pressed(key);
                if quit {
                    return;
                }
            }
        });
        reader.ok().map(|_| Keys(terminal))
    }
}

impl Drop for Keys {
    fn drop(&mut self) {
        let mut terminal = self.0.lock();
        terminal.over = true;
        terminal.give_back();
    }
}

/// The next key that means something; none when the terminal has gone away.
fn next(stdin: &mut impl BufRead, terminal: &Mutex<Terminal>, output: &Output) -> Option<Key> {
    loop {
        let bytes = stdin.fill_buf().ok()?;
        let byte = *bytes.first()?;
        stdin.consume(1);
        match byte {
            b'a' => return Some(Key::All),
            b'f' => return Some(Key::Failed),
            b'\n' | b'\r' => return Some(Key::Again),
            b'q' => return Some(Key::Quit),
            b'p' => {
                output.write("run tests with this in their names (nothing for all), then Enter:\n");
                terminal.lock().give_back();
                let mut line = String::new();
                let read = stdin.read_line(&mut line);
                terminal.lock().one_by_one();
                read.ok()?;
                return Some(Key::Pattern(line.trim().to_owned()));
            }
            _ => {}
        }
    }
}
