//! What the serial console has printed, and what in it the monitor understands: panics and splats.
//!
//! Input: bytes from the serial port. Output: the log, its last lines, a [`PanicSign`] for each line by which
//! a kernel says that it has panicked, and a [`Splat`] for each report of a kernel about a fault of its own.
//! Not here: what a panic means for the machine (`lifecycle`), and what a splat means for anybody.
//!
//! ```text
//! recogniser   splats out of lines
//! panic heads  the words of panics, and of each kind of splat
//! stamp splat  what stands before a kernel's words; one splat
//! ```
//!
//! Bytes come one at a time, on the thread of a vCPU: a line is looked at when its end is there.

mod heads;
mod panic;
mod recogniser;
mod splat;
mod stamp;
#[cfg(test)]
mod transcripts;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

pub use self::heads::SplatKind;
pub(crate) use self::panic::PanicSign;
use self::recogniser::Recogniser;
pub use self::splat::Splat;

/// Most bytes of the log; when it is full, the oldest half is dropped.
const MAX_LOG: usize = 16 << 20;
/// Most bytes of a line that are looked at.
const MAX_LINE: usize = 8 << 10;

type PanicListener = Box<dyn Fn(PanicSign) + Send + Sync>;

/// Called with each splat, by the thread that prints, when the line is there that says what happened.
pub type SplatListener = Arc<dyn Fn(&Arc<Splat>) + Send + Sync>;

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
    splats: Recogniser,
    on_splat: Option<SplatListener>,
}

/// What a line says.
#[derive(Default)]
struct Said {
    panic: Option<PanicSign>,
    splat: Option<(Arc<Splat>, Option<SplatListener>)>,
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
            let said = {
                let mut log = self.log.lock();
                log.push(byte)
            };
            self.printed.notify_all();
            // Outside of the lock: who listens may want to read the log.
            let Some(said) = said else { continue };
            if let Some(sign) = said.panic {
                (self.on_panic)(sign);
            }
            if let Some((splat, Some(listener))) = said.splat {
                listener(&splat);
            }
        }
    }

    /// Empties the log: the machine has become another. Who listens to it stays.
    pub(crate) fn clear(&self) {
        let mut log = self.log.lock();
        let on_splat = log.on_splat.take();
        *log = ConsoleLog {
            on_splat,
            ..ConsoleLog::default()
        };
    }

    /// Calls `listener` with each splat, from those on that the log has now; `None` calls nobody any more.
    pub(crate) fn set_splat_listener(&self, listener: Option<SplatListener>) {
        let known = {
            let mut log = self.log.lock();
            log.on_splat.clone_from(&listener);
            log.splats.since(0).0
        };
        if let Some(listener) = listener {
            known.iter().for_each(|splat| listener(splat));
        }
    }

    /// The splats that begin at position `from` or behind it, the last hundred at most, and how many more
    /// there have been.
    pub(crate) fn splats(&self, from: u64) -> (Vec<Arc<Splat>>, u64) {
        self.log.lock().splats.since(from)
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

    fn push(&mut self, byte: u8) -> Option<Said> {
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
        // Of a line that has no end to it, the end is what a kernel may have printed.
        let start = self.line_start.max(self.bytes.len().saturating_sub(MAX_LINE));
        self.line_start = self.bytes.len();
        let line = &self.bytes[start..];
        let panic = panic::sign_in(line);
        let splat = self.splats.line(line, self.dropped + start as u64);
        let splat = splat.map(|splat| (splat, self.on_splat.clone()));
        Some(Said { panic, splat })
    }
}

/// The splats in a kernel log that was read in some other way than by the console.
pub fn splats_in(log: &[u8]) -> Vec<Arc<Splat>> {
    let mut splats = Recogniser::default();
    let mut at = 0;
    for line in log.split_inclusive(|byte| *byte == b'\n') {
        splats.line(line, at);
        at += line.len() as u64;
    }
    splats.since(0).0
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
