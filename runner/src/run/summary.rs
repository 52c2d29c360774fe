//! What a whole run comes to.

use std::time::Duration;

use crate::cancel::CancelReason;
use crate::report::FileEnd;

/// Counts of a run, and whether it was cut short.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Summary {
    /// Files with at least one wanted test, or an error.
    pub files: usize,
    /// Tests that passed.
    pub passed: usize,
    /// Tests that failed, and files that failed without one.
    pub failed: usize,
    /// Tests that were skipped.
    pub skipped: usize,
    /// Files that were cut short or never begun because the run was stopped.
    pub unfinished: usize,
    /// Why the run was stopped, if it was.
    pub stopped: Option<CancelReason>,
    /// From start to end.
    pub elapsed: Duration,
}

impl Summary {
    /// Adds a file.
    pub fn add(&mut self, end: &FileEnd) {
        self.unfinished += usize::from(end.stopped);
        if end.selected {
            let (passed, failed, skipped) = end.counts();
            self.files += 1;
            self.passed += passed;
            self.failed += failed;
            self.skipped += skipped;
        }
    }

    /// The exit code the run stands for: 0, 1, or 130 when interrupted.
    pub fn exit_code(&self) -> u8 {
        match self.stopped {
            Some(CancelReason::Interrupted) => 130,
            _ if self.failed > 0 => 1,
            _ => 0,
        }
    }
}
