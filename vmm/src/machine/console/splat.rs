//! [`Splat`]: one report of a kernel about a fault of its own, whole or as far as it has come.
//!
//! Input: its lines, from the thread that prints. Output: its text for whoever holds it, and a wait for the
//! rest of it. Not here: which lines those are (`recogniser`).

use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

use super::heads::SplatKind;

/// Most bytes of a report's text; what comes behind is left out.
pub(super) const MAX_TEXT: usize = 64 << 10;
/// How long a console has to be silent for a report without an end of its own to count as whole.
const SILENCE: Duration = Duration::from_millis(100);

/// A report of a kernel about a fault of its own.
#[derive(Debug)]
pub struct Splat {
    /// Sort of fault.
    pub kind: SplatKind,
    /// The line that says what happened, without its stamp.
    pub head: String,
    /// Position in the console's log at which the report's first line begins.
    pub position: u64,
    /// Seconds since the kernel's start, if its lines have times.
    pub time: Option<f64>,
    /// Whether its last line is known by its words, and comes unless the kernel dies.
    has_end: bool,
    body: Mutex<Body>,
    changed: Condvar,
}

/// What of a report grows.
#[derive(Debug, Default)]
struct Body {
    text: String,
    whole: bool,
    cut: bool,
}

impl Splat {
    pub(super) fn new(kind: SplatKind, head: &str, position: u64, time: Option<f64>, has_end: bool) -> Splat {
        Splat {
            kind,
            head: head.to_owned(),
            position,
            time,
            has_end,
            body: Mutex::default(),
            changed: Condvar::new(),
        }
    }

    /// Its lines as far as they have been printed, with their stamps.
    pub fn text(&self) -> String {
        self.body.lock().text.clone()
    }

    /// Whether nothing more of it will come.
    pub fn is_whole(&self) -> bool {
        self.body.lock().whole
    }

    /// Waits until all of it is there, at most `limit`; of a report without an end of its own, until nothing
    /// more has come for a tenth of a second. Slow hosts print slowly.
    pub fn settle(&self, limit: Duration) {
        let until = Instant::now() + limit;
        let mut body = self.body.lock();
        while !body.whole {
            let length = body.text.len();
            let left = until.saturating_duration_since(Instant::now());
            let pause = if self.has_end { left } else { left.min(SILENCE) };
            let late = self.changed.wait_for(&mut body, pause).timed_out();
            if late && (body.text.len() == length || left <= SILENCE) {
                return;
            }
        }
    }

    /// Adds a line.
    pub(super) fn add(&self, line: &str) {
        let mut body = self.body.lock();
        if body.cut {
            return;
        }
        let line = line.trim_end();
        if body.text.len() + line.len() >= MAX_TEXT {
            body.cut = true;
            body.text.push_str("… (it goes on)\n");
        } else {
            body.text.push_str(line);
            body.text.push('\n');
        }
        drop(body);
        self.changed.notify_all();
    }

    /// Says that nothing more will come.
    pub(super) fn end(&self) {
        self.body.lock().whole = true;
        self.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_splat_is_waited_for_until_it_is_whole_or_silent() {
        let splat = Splat::new(SplatKind::Bug, "BUG: x", 0, None, false);
        splat.add("BUG: x\r\n");
        splat.settle(Duration::from_millis(10));
        splat.settle(Duration::from_secs(60));
        assert_eq!((splat.text(), splat.is_whole()), ("BUG: x\n".to_owned(), false));
        std::thread::scope(|scope| {
            let waiter = scope.spawn(|| {
                splat.settle(Duration::from_secs(60));
                splat.text()
            });
            splat.add(" more");
            splat.end();
            waiter.join().unwrap();
        });
        assert!(splat.is_whole());
    }

    #[test]
    fn one_that_has_an_end_is_waited_for_through_silence() {
        let splat = Splat::new(SplatKind::Warning, "WARNING: x", 0, None, true);
        std::thread::scope(|scope| {
            let waiter = scope.spawn(|| {
                splat.settle(Duration::from_secs(60));
                splat.is_whole()
            });
            std::thread::sleep(SILENCE * 3);
            splat.end();
            assert!(waiter.join().unwrap());
        });
        let splat = Splat::new(SplatKind::Warning, "WARNING: x", 0, None, true);
        splat.settle(Duration::from_millis(10));
        assert!(!splat.is_whole());
    }

    #[test]
    fn its_text_is_bounded() {
        let splat = Splat::new(SplatKind::Bug, "BUG: x", 0, None, false);
        for _ in 0..1000 {
            splat.add(&"x".repeat(1000));
        }
        assert!(splat.text().len() <= MAX_TEXT + 100);
        assert!(splat.text().ends_with("… (it goes on)\n"));
    }
}
