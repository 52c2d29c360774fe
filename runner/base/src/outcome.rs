//! What running test files comes to: results of tests and files, and the counts of a whole run.
//!
//! Input: what whoever runs a file saw. Output: plain data, which events carry, `--json` prints and the
//! journal keeps. Not here: how any of it is shown.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::cancel::CancelReason;
use crate::exit;

/// One test file's result; its JSON form is one line of `--json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FileResult {
    /// Path as given or discovered, relative to the working directory where possible.
    pub path: String,
    /// Whether the file kept its time limit.
    pub timeout: Timeliness,
    /// Whether every test passed or was skipped and the chunk itself ran.
    pub passed: bool,
    /// Why the file's own chunk failed, if it did.
    pub chunk_error: Option<String>,
    /// Nanoseconds from start to end, clean-up included.
    pub duration_ns: u64,
    /// Its tests in the order they ran.
    pub tests: Vec<TestResult>,
}

/// Whether a file kept its time limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Timeliness {
    /// The file ended by itself.
    InTime,
    /// The file was ended at its limit.
    TimedOut,
}

/// One test's result.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TestResult {
    /// Name given to `test`.
    pub name: String,
    /// How it ended.
    pub status: TestStatus,
    /// The failure's message or the skip's reason.
    pub message: Option<String>,
    /// What `t:log` said; on failure followed by each running VM's console tail.
    pub log: Vec<String>,
    /// Nanoseconds, clean-up included.
    pub duration_ns: u64,
    /// Line of the failure, else of the `test` call.
    pub line: Option<u32>,
}

/// How a test ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TestStatus {
    /// The test passed.
    Passed,
    /// The test failed.
    Failed,
    /// The test was skipped, or the run was stopped while it ran.
    Skipped,
}

/// A file's result and what the run makes of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FileEnd {
    /// The file's result.
    pub result: FileResult,
    /// Whether the run was stopped before the file was through; its result is then no verdict on the file.
    pub stopped: bool,
    /// Whether an earlier start of the same run has already shown it.
    pub shown_before: bool,
    /// Whether any of its tests was wanted; a file without is left out of reports.
    pub selected: bool,
}

impl FileEnd {
    /// Passed, failed and skipped tests. A file that failed without a failed test counts as one failure.
    pub fn counts(&self) -> (usize, usize, usize) {
        use TestStatus::{Failed, Passed, Skipped};
        let tests = &self.result.tests;
        let count = |status| tests.iter().filter(|test| test.status == status).count();
        let failed = count(Failed).max(usize::from(self.failed()));
        (count(Passed), failed, count(Skipped))
    }

    /// Whether the file counts against the run.
    pub fn failed(&self) -> bool {
        !self.result.passed && !self.stopped
    }
}

/// Counts of a run, and whether it was stopped.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// Files with at least one wanted test, or an error.
    pub files: usize,
    /// Tests that passed.
    pub passed: usize,
    /// Tests that failed, and files that failed without one.
    pub failed: usize,
    /// Tests that were skipped.
    pub skipped: usize,
    /// Files that were ended early or never begun because the run was stopped.
    pub unfinished: usize,
    /// Why the run was stopped, if it was.
    pub stopped: Option<CancelReason>,
    /// Time from start to end.
    pub elapsed: Duration,
}

impl Summary {
    /// Adds a file to the counts.
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

    /// The exit code these counts stand for: [`exit::SUCCESS`], [`exit::FAILED`], or [`exit::INTERRUPTED`].
    pub fn exit_code(&self) -> u8 {
        match self.stopped {
            Some(CancelReason::Interrupted) => exit::INTERRUPTED,
            _ if self.failed > 0 => exit::FAILED,
            _ => exit::SUCCESS,
        }
    }
}
