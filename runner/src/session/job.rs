//! One test file to run, with everything its runner needs.
//!
//! Input: what discovery, the configuration and the command line came to. Output: a [`FileJob`], which a
//! [`FileRunner`](super::FileRunner) turns into a `FileResult`. Not here: who runs it, and how it is shown.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use provium_base::cancel::Cancel;

use super::artifacts::Artifacts;
use super::known::{Expectation, KnownFailures};
use super::order::Order;
use super::pool::Pool;
use super::progress::{Found, Progress};
use super::repeat::Repeat;
use super::select::{Candidate, Labels, Selection};
use super::slots::Slots;
use crate::config::Config;
use crate::discover::SUFFIX;
use crate::stock::Fixtures;

/// One test file to run.
///
/// The session enforces the time limit: it cancels `cancel` with the reason. The runner of the file then ends
/// what blocks, reports the test it was in as failed with the reason as message (so that the line and the
/// console's tail are known), leaves out the tests that had not begun, cleans up and returns. It sets neither
/// `timeout` nor `duration_ns` nor `not_run` of the result for good: the session overwrites them. It tells of
/// every test that the file has by [`FileJob::found`].
#[derive(Debug, Clone)]
pub struct FileJob {
    /// The file, absolute.
    pub path: PathBuf,
    /// The file as reports name it: relative to the working directory where possible.
    pub shown: String,
    /// The configuration, with the project's folder and the roots that are on `require`'s path.
    pub config: Arc<Config>,
    /// Its number among the files of the run.
    pub number: usize,
    /// Which tests are wanted; the others are left out of the result.
    pub selection: Arc<Selection>,
    /// The order in which they run.
    pub order: Order,
    /// How often they run.
    pub repeat: Repeat,
    /// Number of further runs of a test that failed and does not say itself.
    pub retries: u32,
    /// The file's time limit, for messages; `None` is no limit.
    pub timeout: Option<Duration>,
    /// The project's fixtures, shared by all files of the run.
    pub fixtures: Arc<Fixtures>,
    /// The memory and processors that VMs share.
    pub pool: Arc<Pool>,
    /// What of the run's jobs is free for tests that run beside others of their file.
    pub slots: Arc<Slots>,
    /// The tests that are known to fail.
    pub known: Arc<KnownFailures>,
    /// Where the file's thread says which tests it has and where it is.
    pub progress: Arc<Progress>,
    /// Where what is left of failed tests is kept; `None` keeps nothing.
    pub artifacts: Option<Arc<Artifacts>>,
    /// Whether somebody follows the run, and wants to hear of the file's VMs.
    pub observed: bool,
    /// Cancelled when the file is to stop at once; a child of the run's own token.
    pub cancel: Arc<Cancel>,
}

impl FileJob {
    /// Notes that the file has this test, whose call has these first and last lines; says whether it is
    /// wanted.
    pub fn found(&self, name: &str, labels: &Labels, lines: Option<(u32, u32)>) -> bool {
        let test = Candidate {
            path: &self.path,
            shown: &self.shown,
            name,
            labels,
            lines,
        };
        let chosen = self.selection.chooses(&test);
        let wanted = chosen
            && self
                .selection
                .takes(&test, || self.number + self.progress.chosen());
        self.progress.found(Found {
            name: name.to_owned(),
            labels: labels.clone(),
            lines,
            chosen,
            wanted,
        });
        wanted
    }

    /// The name of the test that the file is by itself, where it has none of its own.
    pub fn name_of_file(&self) -> String {
        let name = self.path.file_name().unwrap_or_default().to_string_lossy();
        let name = name
            .strip_suffix(SUFFIX)
            .or(name.strip_suffix(".lua"))
            .unwrap_or(&name);
        name.to_owned()
    }

    /// Whether a slow test of the file is run, and not skipped: all are wanted, or this one is named.
    pub fn runs_slow(&self, name: &str, lines: Option<(u32, u32)>) -> bool {
        let named = self.selection.only.get(&self.path).into_iter().flatten();
        self.selection.filter.include_slow || named.into_iter().any(|only| only.is(name, lines))
    }

    /// What the run's known failures say of a test of the file.
    pub fn expectation(&self, test: &str) -> Option<Expectation> {
        self.known.expectation(&self.path, test)
    }
}
