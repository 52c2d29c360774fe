//! A session: runs test files, again and again, and returns what each run came to.
//!
//! Input: a configuration, fixtures, a pool, a sink, and the function that runs one file; then, for each run,
//! the files and [`RunOptions`]. Output: events as things happen, then an [`Outcome`]. Between runs the pool,
//! the fixtures and their open snapshots stay, so that the next run starts warm. Not here: Lua and VMs, which
//! only the given function knows; how anything is shown.
//!
//! ```text
//! mod      Session, RunOptions, Outcome
//! run      one run: the queue of files, the threads that take from it, the counts
//! file     one file of a run: its thread, its time limit, its end
//! job      what the function that runs a file is given
//! progress what that function has told of the file's tests, and where it is
//! select   which tests are wanted
//! order    in which order
//! repeat   how often
//! last_run the tests that failed last, from run to run
//! listed   what is known of a file that did not run
//! emptied  why no test is wanted
//! known    which tests are known to fail
//! slots    how many things a run does at a time
//! pool     memory and processors that files reserve
//! artifacts  what is kept of failed tests
//! watched  what those hear who follow a run
//! journal  results of a run that is interrupted from outside, for its next start
//! build    profiles' `build` commands, before the first run
//! ```

pub mod artifacts;
pub mod build;
pub mod emptied;
mod file;
pub mod job;
pub mod journal;
pub mod known;
pub mod last_run;
pub mod listed;
pub mod order;
pub mod pool;
pub mod progress;
pub mod repeat;
mod run;
pub mod select;
pub mod slots;
#[cfg(test)]
mod tests;
mod watched;

use std::sync::Arc;
use std::time::Duration;

use provium_base::cancel::{Cancel, CancelReason};
use provium_base::events::Sink;
use provium_base::exit;
use provium_base::outcome::{FileEnd, FileResult, Summary};

use crate::config::Config;
use crate::discover::TestFile;
use crate::stock::Fixtures;
use artifacts::Artifacts;
use emptied::Seen;
use job::FileJob;
use journal::{Journal, JournalError, Replayed};
use known::KnownFailures;
use order::Order;
use pool::Pool;
use repeat::Repeat;
use select::Selection;

/// How long a file may take to clean up once it is told to stop.
const GRACE: Duration = Duration::from_secs(30);

/// What runs one file: tells the sink of the tests that start and end, and returns the file's result.
pub type FileRunner = dyn Fn(&FileJob, &Arc<dyn Sink>) -> FileResult + Send + Sync;

/// Why a run could not be carried out.
#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    /// A thread could not be started.
    #[error("cannot start a thread: {0}")]
    Thread(#[from] std::io::Error),
    /// The journal could not be written.
    #[error(transparent)]
    Journal(#[from] JournalError),
}

/// How to run files once.
#[derive(Debug, Default)]
pub struct RunOptions {
    /// Number of files that run at a time; at least one does.
    pub jobs: usize,
    /// Time limit of a file.
    pub timeout: Option<Duration>,
    /// Number of failures that ends the run.
    pub max_failures: Option<usize>,
    /// Which tests are wanted.
    pub selection: Selection,
    /// The order in which they run.
    pub order: Order,
    /// How often they run.
    pub repeat: Repeat,
    /// Number of further runs of a test that failed and does not say itself.
    pub retries: u32,
    /// Whether a file without a test passes.
    pub allow_empty: bool,
    /// The tests that are known to fail.
    pub known: Arc<KnownFailures>,
    /// Where what is left of failed tests is kept; `None` keeps nothing.
    pub artifacts: Option<Arc<Artifacts>>,
    /// Whether somebody follows the run: its files are looked through before it, and its VMs and the pool are
    /// told of.
    pub observed: bool,
    /// Where results are noted, and what an earlier start of the same run has noted.
    pub journal: Option<(Journal, Vec<Replayed>)>,
}

/// What a run came to.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome {
    /// Counts of files and tests.
    pub summary: Summary,
    /// The files that have ended, in the order of their ends.
    pub files: Vec<FileEnd>,
    /// The tests that their files have told of, wanted or not.
    pub tests: Vec<Seen>,
    /// Messages about tests that were named one by one and are not there.
    pub missing: Vec<String>,
    /// How the run ended.
    pub ending: Ending,
}

/// How a run ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ending {
    /// Every file was run to its end.
    Completed,
    /// Every file was run to its end, and no test of them ran: the filter wants none, or there is none.
    NothingRan {
        /// Why, for the user.
        why: String,
    },
    /// The run was stopped before every file was through.
    Stopped(CancelReason),
}

impl Outcome {
    /// The exit code that the run stands for; see [`exit`].
    pub fn exit_code(&self) -> u8 {
        match &self.ending {
            Ending::NothingRan { .. } => exit::HARNESS,
            Ending::Completed | Ending::Stopped(_) => self.summary.exit_code(),
        }
    }
}

/// What files need to run, for as many runs as are wanted.
pub struct Session {
    config: Arc<Config>,
    fixtures: Arc<Fixtures>,
    pool: Arc<Pool>,
    sink: Arc<dyn Sink>,
    runner: Arc<FileRunner>,
    grace: Duration,
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session")
            .field("project", &self.config.project)
            .field("fixtures", &self.fixtures)
            .finish_non_exhaustive()
    }
}

impl Session {
    /// A session of this project: `pool` is what its files share, `sink` hears of every run, `runner` runs
    /// one file.
    pub fn new(
        config: Arc<Config>,
        fixtures: Arc<Fixtures>,
        pool: Arc<Pool>,
        sink: Arc<dyn Sink>,
        runner: Arc<FileRunner>,
    ) -> Session {
        Session {
            config,
            fixtures,
            pool,
            sink,
            runner,
            grace: GRACE,
        }
    }

    /// Runs the files until all have ended or `cancel` is cancelled.
    ///
    /// Time limits, `max_failures` and `cancel` end a file in the same way: its token is cancelled, and a
    /// file that does not obey in time is given up.
    ///
    /// # Errors
    /// [`SessionError`] when the harness itself fails; failed tests are in the outcome.
    pub fn run(
        &mut self,
        files: Vec<TestFile>,
        options: RunOptions,
        cancel: &Arc<Cancel>,
    ) -> Result<Outcome, SessionError> {
        // What has changed since the last run must be seen by this one.
        self.fixtures.begin_run();
        let (selection, allow_empty) = (options.selection.clone(), options.allow_empty);
        let found = files.len();
        let run::Ended {
            summary,
            files,
            seen,
            missing,
        } = run::run(self, files, options, cancel)?;
        let empty = match selection.is_active() {
            // A part of few tests may well be empty.
            true => summary.files == 0 && !seen.iter().any(|(_, test)| test.chosen),
            false => !allow_empty && files.iter().all(|end| end.result.no_tests),
        };
        let ending = match summary.stopped {
            Some(reason) => Ending::Stopped(reason),
            None if empty && found > 0 => Ending::NothingRan {
                why: emptied::explain(&selection, found, &seen),
            },
            None => Ending::Completed,
        };
        Ok(Outcome {
            summary,
            files,
            tests: seen,
            missing,
            ending,
        })
    }

    /// Makes room in the fixture cache, beside whatever runs next; see [`Fixtures::make_room`].
    pub fn make_room(&self) {
        let fixtures = Arc::clone(&self.fixtures);
        let thread = std::thread::Builder::new().name("make room".into());
        // Without a thread it is left to the next start.
        drop(thread.spawn(move || fixtures.make_room()));
    }

    /// Runs one test of one file, by its name, even if it calls itself slow; what else `options` filters by
    /// is ignored.
    ///
    /// # Errors
    /// Those of [`Session::run`].
    pub fn run_test(
        &mut self,
        file: TestFile,
        test: &str,
        options: RunOptions,
        cancel: &Arc<Cancel>,
    ) -> Result<Outcome, SessionError> {
        let options = RunOptions {
            selection: Selection::of_test(test),
            ..options
        };
        self.run(vec![file], options, cancel)
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        // A file that was given up may hold the fixtures for ever; its guests must end all the same.
        self.fixtures.close();
    }
}
