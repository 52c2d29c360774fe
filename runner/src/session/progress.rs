//! What a file's thread has told of itself: which tests it has, and where it was last.
//!
//! Input: tests as they are registered, lines as they are passed. Output: the same to whoever waits for the
//! file, also when the thread never returns. Not here: results; events have those.

use std::sync::atomic::{AtomicU32, Ordering};

use parking_lot::Mutex;

use super::select::Labels;

/// A test that a file has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// Name of the test.
    pub name: String,
    /// What it can be chosen by.
    pub labels: Labels,
    /// First and last line of its `test(…)` call, if that is in the file itself.
    pub lines: Option<(u32, u32)>,
    /// Whether the run's selection has it, all parts of a partition together.
    pub chosen: bool,
    /// Whether the run wants it.
    pub wanted: bool,
}

#[cfg(test)]
impl Found {
    /// A test of that name, of which nothing else is known.
    pub(crate) fn named(name: &str) -> Found {
        Found {
            name: name.to_owned(),
            labels: Labels::new(),
            lines: None,
            chosen: true,
            wanted: true,
        }
    }
}

/// What is known of a file that runs.
#[derive(Debug, Default)]
pub struct Progress {
    found: Mutex<Vec<Found>>,
    line: AtomicU32,
}

impl Progress {
    /// Notes a test of the file.
    pub fn found(&self, test: Found) {
        self.found.lock().push(test);
    }

    /// Number of the tests so far that the run's selection has.
    pub fn chosen(&self) -> usize {
        self.found.lock().iter().filter(|test| test.chosen).count()
    }

    /// Notes the line of the file that runs now.
    pub fn at_line(&self, line: u32) {
        // Nothing depends on the order: who reads it says "last seen".
        self.line.store(line, Ordering::Relaxed);
    }

    /// The last line of the file that was seen running.
    pub fn line(&self) -> Option<u32> {
        Some(self.line.load(Ordering::Relaxed)).filter(|line| *line > 0)
    }

    /// The tests of the file, as far as it has registered them.
    pub fn tests(&self) -> Vec<Found> {
        self.found.lock().clone()
    }
}
