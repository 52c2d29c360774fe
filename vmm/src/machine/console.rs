//! What the serial console has printed, and the one thing in it the monitor understands: a kernel panic.
//!
//! Input: bytes from the serial port. Output: the log, its last lines, and a [`PanicSign`] for each line by
//! which a kernel says that it has panicked (`kernel/panic.c`). Not here: what a panic means for the machine
//! (`lifecycle`).
//!
//! A line counts only when the phrase starts it, behind at most the kernel's time stamp, so that a program
//! which prints the phrase in passing does not end its machine.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

/// Most bytes of the log; when it is full, the oldest half is dropped.
const MAX_LOG: usize = 16 << 20;
const PANIC: &str = "Kernel panic - not syncing: ";
const PANIC_END: &str = "---[ end Kernel panic - not syncing";

/// What a console line says about a panic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum PanicSign {
    /// The panic has happened, with this message; the kernel still prints where.
    Begun(String),
    /// The kernel has printed all there is to the panic.
    Over,
}

type PanicListener = Box<dyn Fn(PanicSign) + Send + Sync>;

/// The console's log.
pub(crate) struct Console {
    log: Mutex<ConsoleLog>,
    printed: Condvar,
    on_panic: PanicListener,
}

#[derive(Default)]
struct ConsoleLog {
    bytes: Vec<u8>,
    line_start: usize,
    /// Number of bytes that were dropped.
    dropped: u64,
}

impl Console {
    /// An empty log that calls `on_panic` from the thread that prints.
    pub(crate) fn new(on_panic: PanicListener) -> Arc<Self> {
        Arc::new(Self {
            log: Mutex::default(),
            printed: Condvar::new(),
            on_panic,
        })
    }

    fn push(&self, bytes: &[u8]) {
        for &byte in bytes {
            let sign = {
                let mut log = self.log.lock();
                log.push(byte)
            };
            self.printed.notify_all();
            // Outside of the lock: who listens may want to read the log.
            if let Some(sign) = sign {
                (self.on_panic)(sign);
            }
        }
    }

    /// Empties the log: the machine has become another.
    pub(crate) fn clear(&self) {
        *self.log.lock() = ConsoleLog::default();
    }

    /// The log as it is now.
    pub(crate) fn log(&self) -> Vec<u8> {
        self.log.lock().bytes.clone()
    }

    /// The bytes from position `from` on, and the position behind them. Waits until there are any, at most
    /// `limit`. Positions count every byte since the machine's start or since a snapshot was loaded. From a
    /// position that was dropped, or has never been, the bytes begin at the first one there is.
    pub(crate) fn since(&self, from: u64, limit: Duration) -> (Vec<u8>, u64) {
        let mut log = self.log.lock();
        let nothing = |log: &mut ConsoleLog| log.end() <= from;
        self.printed.wait_while_for(&mut log, nothing, limit);
        let start = from.saturating_sub(log.dropped).min(log.bytes.len() as u64) as usize;
        (log.bytes[start..].to_vec(), log.end())
    }

    /// The last `max` bytes as text, from the start of a line where there is one.
    pub(crate) fn tail(&self, max: usize) -> String {
        let log = self.log.lock();
        let from = log.bytes.len().saturating_sub(max);
        let mut tail = &log.bytes[from..];
        if from > 0
            && log.bytes[from - 1] != b'\n'
            && let Some(newline) = tail.iter().position(|&byte| byte == b'\n')
            && newline + 1 < tail.len()
        {
            tail = &tail[newline + 1..];
        }
        String::from_utf8_lossy(tail).replace('\r', "")
    }
}

impl ConsoleLog {
    /// Position behind the last byte.
    fn end(&self) -> u64 {
        self.dropped + self.bytes.len() as u64
    }

    fn push(&mut self, byte: u8) -> Option<PanicSign> {
        if self.bytes.len() >= MAX_LOG {
            let cut = MAX_LOG / 2;
            self.bytes.drain(..cut);
            self.dropped += cut as u64;
            self.line_start = self.line_start.saturating_sub(cut);
        }
        self.bytes.push(byte);
        if byte != b'\n' {
            return None;
        }
        let line = &self.bytes[self.line_start..];
        let sign = sign_in(&String::from_utf8_lossy(line));
        self.line_start = self.bytes.len();
        sign
    }
}

fn sign_in(line: &str) -> Option<PanicSign> {
    let line = line.trim_end();
    let text = match line.strip_prefix('[').and_then(|rest| rest.split_once("] ")) {
        Some((stamp, text)) if stamp.trim().parse::<f64>().is_ok() => text,
        _ => line,
    };
    if text.starts_with(PANIC_END) {
        return Some(PanicSign::Over);
    }
    text.strip_prefix(PANIC)
        .map(|message| PanicSign::Begun(message.to_owned()))
}

/// A writer into the log, for the serial port.
#[derive(Clone)]
pub(crate) struct ConsoleWriter(pub(crate) Arc<Console>);

impl io::Write for ConsoleWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.push(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn panics_are_recognized_with_and_without_time_stamps_and_nothing_else_is() {
        let begun = |message: &str| Some(PanicSign::Begun(message.to_owned()));
        assert_eq!(
            sign_in("Kernel panic - not syncing: no init\r\n"),
            begun("no init")
        );
        assert_eq!(
            sign_in("[    0.512345] Kernel panic - not syncing: Oops\n"),
            begun("Oops")
        );
        assert_eq!(
            sign_in("[    1.0] ---[ end Kernel panic - not syncing: Oops ]---"),
            Some(PanicSign::Over)
        );
        assert_eq!(sign_in("log says: Kernel panic - not syncing: Oops"), None);
        assert_eq!(sign_in("[me] Kernel panic - not syncing: Oops"), None);
        assert_eq!(sign_in(""), None);
    }

    #[test]
    fn the_listener_may_read_the_log_it_is_told_of() {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let slot: Arc<Mutex<Option<Arc<Console>>>> = Arc::default();
        let console = Console::new(Box::new({
            let (seen, slot) = (seen.clone(), slot.clone());
            move |sign| {
                let tail = slot.lock().as_ref().unwrap().tail(1000);
                seen.lock().push((sign, tail));
            }
        }));
        *slot.lock() = Some(console.clone());
        console.push(b"booting\r\nKernel panic - not syncing: x\n");
        let seen = seen.lock();
        let tail = "booting\nKernel panic - not syncing: x\n".to_owned();
        assert_eq!(*seen, [(PanicSign::Begun("x".to_owned()), tail)]);
    }

    #[test]
    fn a_tail_starts_with_a_whole_line() {
        let console = Console::new(Box::new(|_| {}));
        console.push(b"first line\nsecond line\nthird");
        assert_eq!(console.tail(100), "first line\nsecond line\nthird");
        assert_eq!(console.tail(20), "second line\nthird");
        assert_eq!(console.tail(17), "second line\nthird");
        assert_eq!(console.tail(3), "ird");
    }

    #[test]
    fn readers_follow_by_position_and_wait_for_more() {
        let console = Console::new(Box::new(|_| {}));
        console.push(b"one");
        let (bytes, at) = console.since(0, Duration::ZERO);
        assert_eq!((&bytes[..], at), (&b"one"[..], 3));
        assert_eq!(console.since(at, Duration::from_millis(5)), (Vec::new(), 3));
        std::thread::scope(|scope| {
            let reader = scope.spawn(|| console.since(at, Duration::from_secs(60)));
            console.push(b"!");
            assert_eq!(reader.join().unwrap(), (b"!".to_vec(), 4));
        });
        console.push(&vec![b'x'; MAX_LOG]);
        let (bytes, end) = console.since(at, Duration::ZERO);
        assert!(bytes.len() < MAX_LOG, "what was let go is not there");
        assert_eq!(end, 4 + MAX_LOG as u64);
    }

    #[test]
    fn an_endless_log_is_bounded() {
        let console = Console::new(Box::new(|_| {}));
        let chunk = vec![b'x'; 1 << 20];
        for _ in 0..20 {
            console.push(&chunk);
        }
        console.push(b"\nKernel panic");
        assert!(console.log().len() <= MAX_LOG);
        assert!(console.log().ends_with(b"\nKernel panic"));
    }
}
