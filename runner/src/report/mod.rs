//! What the run says while it goes: events in, text out.
//!
//! The scheduler emits [`Event`]s; each [`Reporter`] makes of them what it is for. Enters: events, from
//! several threads. Leaves: text on stdout or stderr. Absent on purpose: decisions about the run itself.

mod github;
mod json;
mod live;
mod output;
mod plain;
mod progress;
mod text;

use crate::outcome::{FileResult, TestResult};
use crate::run::summary::Summary;

pub use github::GithubReporter;
pub use json::JsonReporter;
pub use live::LiveReporter;
pub use output::Output;
pub use plain::{PlainReporter, Verbosity};
pub use progress::ProgressReporter;
pub use text::Paint;

/// Something that happened.
#[derive(Debug, Clone, Copy)]
pub enum Event<'a> {
    /// The run begins.
    RunStarted {
        /// Files to run.
        files: usize,
    },
    /// A file begins.
    FileStarted {
        /// As reports name it.
        path: &'a str,
    },
    /// A test begins.
    TestStarted {
        /// Its file.
        path: &'a str,
        /// Its name.
        test: &'a str,
    },
    /// A test has ended.
    TestEnded {
        /// Its file.
        path: &'a str,
        /// How.
        result: &'a TestResult,
    },
    /// A file has ended.
    FileEnded(&'a FileEnd),
    /// The run has ended.
    RunEnded(&'a Summary),
}

/// A file's end.
#[derive(Debug, Clone, PartialEq)]
pub struct FileEnd {
    /// What came of it.
    pub result: FileResult,
    /// Whether the run was stopped before the file was through; what it says then is no verdict on the file.
    pub stopped: bool,
    /// Whether an earlier start of the same run has already shown it.
    pub shown_before: bool,
    /// Whether any of its tests was wanted; a file without is left out of reports.
    pub selected: bool,
}

impl FileEnd {
    /// Passed, failed and skipped tests. A file that failed without a failed test counts as one failure.
    pub fn counts(&self) -> (usize, usize, usize) {
        use crate::outcome::TestStatus::{Failed, Passed, Skipped};
        let count = |status| {
            self.result
                .tests
                .iter()
                .filter(|test| test.status == status)
                .count()
        };
        let failed = count(Failed).max(usize::from(self.failed()));
        (count(Passed), failed, count(Skipped))
    }

    /// Whether the file counts against the run.
    pub fn failed(&self) -> bool {
        !self.result.passed && !self.stopped
    }
}

/// Makes something of events. Called from many threads; a reporter orders its own output.
pub trait Reporter: Send + Sync {
    /// Something happened.
    fn event(&self, event: Event<'_>);
}

/// Several reporters as one; they hear of each event in this order.
pub struct Reporters(pub Vec<Box<dyn Reporter>>);

impl Reporter for Reporters {
    fn event(&self, event: Event<'_>) {
        for reporter in &self.0 {
            reporter.event(event);
        }
    }
}

#[cfg(test)]
pub(crate) mod samples;
#[cfg(test)]
mod tests;
