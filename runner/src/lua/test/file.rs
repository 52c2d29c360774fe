//! What one test file's Lua state knows about itself: its job, its tests, its scopes, what runs now.
//!
//! Enters: a [`FileJob`], then what the chunk and the tests do. Leaves: the same to every function of the API, by
//! [`File::of`]. Absent on purpose: the order in which things run; `runner` has that.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::path::Path;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::time::Duration;

use mlua::{Function, Lua, Table};

use crate::cancel::Cancel;
use crate::fixture::{Building, Input};
use crate::lua::objects::claim::Claimed;
use crate::lua::objects::lab::Lab;
use crate::lua::state::scope::Scopes;
use crate::lua::test::test_run::TestRun;
use crate::outcome::{Progress, TestResult};
use crate::run::job::FileJob;
use crate::run::select::Labels;

/// A test that waits for its turn.
pub(crate) struct Registered {
    /// Its name, unique in the file.
    pub(crate) name: String,
    /// Its metadata, as the test wrote it.
    pub(crate) meta: Table,
    /// What the runner takes from the metadata.
    pub(crate) settings: Settings,
    /// Its body.
    pub(crate) body: Function,
    /// Line of the `test` call.
    pub(crate) line: Option<u32>,
}

/// What a test's metadata asks of the runner.
#[derive(Debug, Clone, Default)]
pub(crate) struct Settings {
    /// Skip it, for this reason.
    pub(crate) skip: Option<String>,
    /// Its time limit.
    pub(crate) timeout: Option<Duration>,
    /// How often it runs again after a failure.
    pub(crate) retries: u32,
    /// What it can be chosen by.
    pub(crate) labels: Labels,
}

/// Why running code was ended from outside, noted when it noticed.
#[derive(Debug, Clone)]
pub(crate) struct Ending {
    /// What to report.
    pub(crate) message: String,
    /// The line of the test file it was at.
    pub(crate) line: Option<u32>,
}

/// Something of a VM that holds a connection or a place in it: a stream, a worker, an open file, a process.
pub(crate) trait OpenStream {
    /// Where it was opened, unless it is closed.
    fn open_at(&self) -> Option<String>;

    /// The VM it belongs to.
    fn vm(&self) -> String;

    /// What it is, for messages: "a stream (console)".
    fn what(&self) -> String;

    /// Which sort of thing it is.
    fn sort(&self) -> Sort {
        Sort::Stream
    }
}

/// Sorts of things that can be open in a VM.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sort {
    /// No snapshot can hold it: its other end is a connection.
    Stream,
    /// No snapshot can hold it either.
    Worker,
    /// A number in the agent.
    File,
    /// A program or a system call that is not known to have ended.
    Process,
}

/// For a fixture's source, which has no tests.
struct Unwatched;

impl Progress for Unwatched {
    fn test_started(&self, _path: &str, _test: &str) {}
    fn test_ended(&self, _path: &str, _result: &TestResult) {}
}

/// One test file.
pub(crate) struct File {
    job: FileJob,
    chunk_name: String,
    source: String,
    /// The root lab, `provium`.
    pub(crate) lab: Lab,
    /// Who owns what.
    pub(crate) scopes: Scopes,
    progress: Arc<dyn Progress>,
    /// Names of all tests, registered or run in place.
    pub(crate) names: RefCell<BTreeSet<String>>,
    /// How the tests that have run came out.
    pub(crate) results: RefCell<Vec<TestResult>>,
    /// Whether the file has made a VM of the classic dialect at file scope, so that its tests run in place.
    pub(crate) classic: Cell<bool>,
    /// Whether a global assertion was made at file scope.
    pub(crate) asserted: Cell<bool>,
    /// What it has reserved.
    pub(crate) claimed: RefCell<Option<Claimed>>,
    /// The tests registered so far.
    pub(crate) tests: RefCell<Vec<Registered>>,
    /// Why all tests are skipped, if `todo` was called at file scope.
    pub(crate) todo: RefCell<Option<String>>,
    /// Time limit of each test that has none of its own.
    pub(crate) default_timeout: Cell<Option<Duration>>,
    /// Whether every VM is put back before each test.
    pub(crate) reset_between_tests: Cell<bool>,
    /// The fixture build this file is the source of.
    building: Option<Building>,
    snapshots: Cell<usize>,
    /// What was opened in VMs.
    pub(crate) streams: RefCell<Vec<Weak<dyn OpenStream>>>,
    /// What was printed outside a test and has not been shown yet.
    pub(crate) printed: RefCell<Vec<String>>,
    running: RefCell<Option<Rc<TestRun>>>,
    cancel: RefCell<Arc<Cancel>>,
    test_limit: Cell<Option<Duration>>,
    ending: RefCell<Option<Ending>>,
}

impl File {
    /// The file of a job, before its chunk runs.
    pub(crate) fn new(job: &FileJob, source: String, progress: &Arc<dyn Progress>) -> Rc<File> {
        File::with_build(job, source, None, Arc::clone(progress))
    }

    /// The source of a fixture that is being built.
    pub(crate) fn of_fixture(job: &FileJob, source: String, building: Building) -> Rc<File> {
        File::with_build(job, source, Some(building), Arc::new(Unwatched))
    }

    fn with_build(
        job: &FileJob,
        source: String,
        building: Option<Building>,
        progress: Arc<dyn Progress>,
    ) -> Rc<File> {
        Rc::new(File {
            chunk_name: format!("@{}", job.shown),
            source,
            lab: Lab::root(),
            scopes: Scopes::default(),
            progress,
            names: RefCell::default(),
            results: RefCell::default(),
            classic: Cell::default(),
            asserted: Cell::default(),
            claimed: RefCell::default(),
            tests: RefCell::default(),
            todo: RefCell::default(),
            default_timeout: Cell::default(),
            reset_between_tests: Cell::default(),
            building,
            snapshots: Cell::default(),
            streams: RefCell::default(),
            printed: RefCell::default(),
            running: RefCell::default(),
            cancel: RefCell::new(Arc::clone(&job.cancel)),
            test_limit: Cell::default(),
            ending: RefCell::default(),
            job: job.clone(),
        })
    }

    /// The file this Lua state runs.
    pub(crate) fn of(lua: &Lua) -> Rc<File> {
        let file = lua
            .app_data_ref::<Rc<File>>()
            .expect("every Lua state is made for a file");
        Rc::clone(&file)
    }

    /// The fixture build this file is the source of, if it is.
    pub(crate) fn building(&self) -> Option<&Building> {
        self.building.as_ref()
    }

    /// Notes that a fixture build takes something in, before it does; nothing to note elsewhere.
    pub(crate) fn takes_in(&self, input: Input) -> Result<(), String> {
        match &self.building {
            Some(building) => building.inputs().add(input).map_err(|error| error.to_string()),
            None => Ok(()),
        }
    }

    /// A number for the next snapshot that this file makes.
    pub(crate) fn next_snapshot(&self) -> usize {
        let number = self.snapshots.get();
        self.snapshots.set(number + 1);
        number
    }

    /// Who hears of its tests.
    pub(crate) fn progress(&self) -> &dyn Progress {
        &*self.progress
    }

    /// Whether it is one test by itself: it asserts, or uses VMs of the classic dialect, and has no tests.
    pub(crate) fn is_a_test(&self) -> bool {
        (self.asserted.get() || self.classic.get()) && self.names.borrow().is_empty()
    }

    /// Its job.
    pub(crate) fn job(&self) -> &FileJob {
        &self.job
    }

    /// The project's folder.
    pub(crate) fn project(&self) -> &Path {
        &self.job.project
    }

    /// Lua's name for its chunk.
    pub(crate) fn chunk_name(&self) -> &str {
        &self.chunk_name
    }

    /// Its text.
    pub(crate) fn source(&self) -> &str {
        &self.source
    }

    /// The test that runs now.
    pub(crate) fn running(&self) -> Option<Rc<TestRun>> {
        self.running.borrow().clone()
    }

    /// The token that ends what runs now: the test's, else the file's.
    pub(crate) fn cancel(&self) -> Arc<Cancel> {
        Arc::clone(&self.cancel.borrow())
    }

    /// Time limit of the test that runs now.
    pub(crate) fn test_limit(&self) -> Option<Duration> {
        self.test_limit.get()
    }

    /// A test begins; returns its token.
    pub(crate) fn begin_test(&self, run: &Rc<TestRun>, limit: Option<Duration>) -> Arc<Cancel> {
        let token = self.job.cancel.child();
        *self.cancel.borrow_mut() = Arc::clone(&token);
        *self.running.borrow_mut() = Some(Rc::clone(run));
        self.test_limit.set(limit);
        token
    }

    /// The test is over; returns why it was ended from outside, if it was.
    pub(crate) fn end_test(&self) -> Option<Ending> {
        *self.cancel.borrow_mut() = Arc::clone(&self.job.cancel);
        *self.running.borrow_mut() = None;
        self.test_limit.set(None);
        self.ending.take()
    }

    /// Remembers the first ending noticed and returns its message.
    pub(crate) fn note_ending(&self, describe: impl FnOnce() -> (String, Option<u32>)) -> String {
        if let Some(ending) = &*self.ending.borrow() {
            return ending.message.clone();
        }
        let (message, line) = describe();
        *self.ending.borrow_mut() = Some(Ending {
            message: message.clone(),
            line,
        });
        message
    }

    /// Whether an ending was noted.
    pub(crate) fn has_ending(&self) -> bool {
        self.ending.borrow().is_some()
    }

    /// The oldest stream or worker that is still open, and where it was opened; with a VM's name, of that VM.
    pub(crate) fn open_stream(&self, vm: Option<&str>) -> Option<(String, String)> {
        let mut open = self.open_things().into_iter();
        open.find_map(|thing| {
            let held = matches!(thing.sort(), Sort::Stream | Sort::Worker);
            let place = thing.open_at()?;
            (held && vm.is_none_or(|vm| thing.vm() == vm)).then(|| (thing.what(), place))
        })
    }

    /// How many things of a sort are open in a VM.
    pub(crate) fn open_count(&self, vm: &str, sort: Sort) -> usize {
        let open = self.open_things().into_iter();
        open.filter(|thing| thing.sort() == sort && thing.vm() == vm)
            .count()
    }

    fn open_things(&self) -> Vec<Rc<dyn OpenStream>> {
        let mut streams = self.streams.borrow_mut();
        streams.retain(|stream| stream.strong_count() > 0);
        let things = streams.iter().filter_map(Weak::upgrade);
        things.filter(|thing| thing.open_at().is_some()).collect()
    }

    /// Takes the ending that was noted.
    pub(crate) fn take_ending(&self) -> Option<Ending> {
        self.ending.take()
    }

    /// Lets go of every Lua value, before the Lua state closes, and of what the file has reserved.
    pub(crate) fn forget_lua(&self) {
        self.claimed.take();
        self.tests.take();
        self.running.take();
        self.lab.forget_members();
    }
}
