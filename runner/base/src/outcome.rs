//! What running test files comes to: results of tests and files, and the counts of a whole run.
//!
//! Input: what whoever runs a file saw. Output: plain data, which events carry, `--json` prints and the
//! journal keeps. Not here: how any of it is shown.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::cancel::CancelReason;
use crate::exit;
use crate::failure::Failure;
use crate::meta::Meta;
use crate::subtest::{Subtest, SubtestCounts};

/// One test file's result; its JSON form is one line of `--json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FileResult {
    /// Path as given or discovered, relative to the working directory where possible.
    pub path: String,
    /// Whether the file kept its time limit.
    pub timeout: Timeliness,
    /// Whether the file counts as passed: its chunk ran, it has a test, and no test of it [counts against the
    /// run](TestStatus::counts_against_the_run).
    pub passed: bool,
    /// Why the file's own chunk failed, if it did.
    pub chunk_error: Option<String>,
    /// The same with all that is known of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<Box<Failure>>,
    /// Nanoseconds from start to end, clean-up included.
    pub duration_ns: u64,
    /// Its tests in the order they ran.
    pub tests: Vec<TestResult>,
    /// Names of the tests that were wanted and never began, because the file or the run ended before.
    #[serde(default)]
    pub not_run: Vec<String>,
    /// Whether the file has no test at all: it registers none, asserts nothing and has no `todo()`.
    #[serde(default)]
    pub no_tests: bool,
    /// Lines that its own code printed and that are in no test's log, for there was none behind them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub log: Vec<String>,
}

impl FileResult {
    /// The result of a file that passed without a test.
    pub fn new(path: impl Into<String>) -> FileResult {
        FileResult {
            path: path.into(),
            timeout: Timeliness::InTime,
            passed: true,
            chunk_error: None,
            failure: None,
            duration_ns: 0,
            tests: Vec::new(),
            not_run: Vec::new(),
            no_tests: false,
            log: Vec::new(),
        }
    }
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
    /// The failure's message or the skip's reason; how often a flaky test was tried.
    pub message: Option<String>,
    /// What `t:log` said.
    pub log: Vec<String>,
    /// Nanoseconds, clean-up included.
    pub duration_ns: u64,
    /// Line of the failure, else of the `test` call.
    pub line: Option<u32>,
    /// Number of times that its body ran; 0 for one that was skipped before.
    #[serde(default = "once")]
    pub attempts: u32,
    /// Whether it passed, but only when it was tried again.
    #[serde(default)]
    pub flaky: bool,
    /// All that is known of its failure, if it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<Box<Failure>>,
    /// Its parts that have results of their own, of the last time it ran.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub subtests: Vec<Subtest>,
    /// How often it ran and failed, where it ran in rounds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rounds: Option<Rounds>,
    /// Its metadata, as the test wrote it.
    #[serde(default, skip_serializing_if = "Meta::is_empty")]
    pub meta: Meta,
}

fn once() -> u32 {
    1
}

impl TestResult {
    /// The result of a test that ran once and has nothing to say.
    pub fn new(name: impl Into<String>, status: TestStatus) -> TestResult {
        TestResult {
            name: name.into(),
            status,
            message: None,
            log: Vec::new(),
            duration_ns: 0,
            line: None,
            attempts: once(),
            flaky: false,
            failure: None,
            subtests: Vec::new(),
            rounds: None,
            meta: Meta::new(),
        }
    }
}

/// What became of a test in all rounds of `--repeat`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rounds {
    /// Rounds in which it ran.
    pub run: u32,
    /// Those in which it counted against the run.
    pub failed: u32,
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
    /// The test failed, as it is expected to.
    Xfailed,
    /// The test passed, and is expected to fail.
    Xpassed,
}

impl TestStatus {
    /// Whether the run fails because of it: the test failed, or passed where a failure is expected.
    pub fn counts_against_the_run(self) -> bool {
        match self {
            TestStatus::Failed | TestStatus::Xpassed => true,
            TestStatus::Passed | TestStatus::Skipped | TestStatus::Xfailed => false,
        }
    }
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

/// Counts of tests.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Tests that passed, flaky ones among them.
    pub passed: usize,
    /// Tests that failed; one for a file that failed without such a test.
    pub failed: usize,
    /// Tests that were skipped.
    pub skipped: usize,
    /// Tests that failed as expected.
    pub xfailed: usize,
    /// Tests that passed and are expected to fail.
    pub xpassed: usize,
    /// Tests that never began.
    pub not_run: usize,
    /// Tests that passed only when tried again.
    pub flaky: usize,
    /// Results of the tests' parts, which are not among the tests.
    pub subtests: SubtestCounts,
}

impl FileEnd {
    /// Counts of its tests. A file that failed without a test to show for it counts as one failure.
    pub fn counts(&self) -> Counts {
        let mut counts = Counts {
            not_run: self.result.not_run.len(),
            ..Counts::default()
        };
        for test in &self.result.tests {
            let count = match test.status {
                TestStatus::Passed => &mut counts.passed,
                TestStatus::Failed => &mut counts.failed,
                TestStatus::Skipped => &mut counts.skipped,
                TestStatus::Xfailed => &mut counts.xfailed,
                TestStatus::Xpassed => &mut counts.xpassed,
            };
            *count += 1;
            counts.flaky += usize::from(test.flaky);
            counts.subtests.add(SubtestCounts::of(&test.subtests));
        }
        if counts.failed + counts.xpassed == 0 {
            counts.failed = usize::from(self.failed());
        }
        counts
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
    /// Tests that failed as expected.
    #[serde(default)]
    pub xfailed: usize,
    /// Tests that passed and are expected to fail.
    #[serde(default)]
    pub xpassed: usize,
    /// Tests of files that began, which never began themselves.
    #[serde(default)]
    pub not_run: usize,
    /// Tests that passed only when tried again; they are among those that passed.
    #[serde(default)]
    pub flaky: usize,
    /// Results of the tests' parts, which are not among the tests.
    #[serde(default)]
    pub subtests: SubtestCounts,
    /// Files that were ended early or never begun because the run was stopped.
    pub unfinished: usize,
    /// Why the run was stopped, if it was.
    pub stopped: Option<CancelReason>,
    /// Time from start to end, as the user has waited.
    pub elapsed: Duration,
    /// The part of it that went into starting the emulated host; zero where guests run without one.
    #[serde(default)]
    pub host_start: Duration,
}

impl Summary {
    /// Adds a file to the counts.
    pub fn add(&mut self, end: &FileEnd) {
        self.unfinished += usize::from(end.stopped);
        if end.selected {
            let counts = end.counts();
            self.files += 1;
            self.passed += counts.passed;
            self.failed += counts.failed;
            self.skipped += counts.skipped;
            self.xfailed += counts.xfailed;
            self.xpassed += counts.xpassed;
            self.not_run += counts.not_run;
            self.flaky += counts.flaky;
            self.subtests.add(counts.subtests);
        }
    }

    /// The exit code these counts stand for: [`exit::SUCCESS`], [`exit::FAILED`], or [`exit::INTERRUPTED`].
    pub fn exit_code(&self) -> u8 {
        match self.stopped {
            Some(CancelReason::Interrupted) => exit::INTERRUPTED,
            _ if self.failed + self.xpassed > 0 => exit::FAILED,
            _ => exit::SUCCESS,
        }
    }
}
