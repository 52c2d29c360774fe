//! What is known of a test file that did not run: its tests, or why they are not known.
//!
//! Input: what its own code registered. Output: plain data. Not here: running that code, and printing.

use std::path::PathBuf;

use super::select::Labels;

/// A listed file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// The file as reports name it.
    pub shown: String,
    /// The file, absolute.
    pub path: PathBuf,
    /// Its tests, in their order.
    pub tests: Vec<ListedTest>,
    /// Why they are not known.
    pub error: Option<String>,
}

/// A listed test.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedTest {
    /// Its name.
    pub name: String,
    /// Line of its `test(…)` call.
    pub line: Option<u32>,
    /// What it can be chosen by.
    pub labels: Labels,
    /// Why it would be skipped.
    pub skip: Option<String>,
    /// Whether the selection has it.
    pub wanted: bool,
}
