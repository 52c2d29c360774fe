//! What running a test file comes to: the words every reporter, the JSON output and the journal share.
//!
//! Enters: what the Lua runner saw. Leaves: plain data. Absent on purpose: how it is shown.

use serde::{Deserialize, Serialize};

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
    /// It did.
    InTime,
    /// It was ended at the limit.
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
    /// Passed.
    Passed,
    /// Failed.
    Failed,
    /// Skipped.
    Skipped,
}

/// What happens while a file runs, for the live view. Called from the file's own thread.
pub trait Progress: Send + Sync {
    /// A test of the file begins.
    fn test_started(&self, path: &str, test: &str);
    /// A test of the file has ended.
    fn test_ended(&self, path: &str, result: &TestResult);
}
