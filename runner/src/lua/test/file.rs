//! What one test file's Lua state knows about itself: its job, its tests, its scopes, what runs now.
//!
//! Input: a [`FileJob`], then what the chunk and the tests do. Output: the same to every function of the API,
//! by [`File::of`]. Not here: the order in which things run, which `runner` has; and labs, which a file knows
//! nothing of.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use mlua::{Function, Lua, Table};
use provium_base::cancel::Cancel;
use provium_base::events::{Discard, Event, Sink, Stage};
use provium_base::meta::Meta;
use provium_base::outcome::TestResult;
use provium_cache::{Building, Input};

use super::evidence::Evidence;
use super::run::TestRun;
use crate::lua::api::call::Call;
use crate::lua::api::raise::Raise;
use crate::lua::api::script::{Ending, Script};
use crate::lua::api::source::Source;
use crate::lua::state::create::create;
use crate::lua::state::scope::Scopes;
use crate::lua::state::splats::{Allowance, FileSplats};
use crate::session::job::FileJob;
use crate::session::listed::ListedTest;
use crate::session::pool::Account;
use crate::session::select::Labels;

/// A test that waits for its turn.
pub(crate) struct Registered {
    /// Name of the test, unique in the file.
    pub(crate) name: String,
    /// Metadata, as the test wrote it.
    pub(crate) meta: Table,
    /// Settings that the runner takes from the metadata.
    pub(crate) settings: Settings,
    /// Body of the test.
    pub(crate) body: Function,
    /// Line of the `test` call in the file.
    pub(crate) line: Option<u32>,
}

/// Settings of a test, out of its metadata.
#[derive(Debug, Clone, Default)]
pub(crate) struct Settings {
    /// Reason to skip the test, if it is to be skipped.
    pub(crate) skip: Option<String>,
    /// Whether the test calls itself slow.
    pub(crate) slow: bool,
    /// Time limit of the test.
    pub(crate) timeout: Option<Duration>,
    /// Number of further runs after a failure, where the test says it.
    pub(crate) retries: Option<u32>,
    /// That the test is expected to fail, and perhaps why.
    pub(crate) xfail: Option<Option<String>>,
    /// What the test says of splats.
    pub(crate) splats: Allowance,
    /// Labels that tests are chosen by.
    pub(crate) labels: Labels,
    /// All of the metadata, as results carry it.
    pub(crate) meta: Meta,
}

/// One test file.
pub(crate) struct File {
    job: FileJob,
    script: Rc<Script>,
    source: Source,
    /// Scopes that close what the file and its tests make.
    pub(crate) scopes: Scopes,
    sink: Arc<dyn Sink>,
    splats: Arc<FileSplats>,
    account: Arc<Account>,
    /// Names of all tests, registered or run in place.
    pub(crate) names: RefCell<BTreeSet<String>>,
    /// Results of the tests that have run.
    pub(crate) results: RefCell<Vec<TestResult>>,
    /// Whether tests run where they are registered, as the classic dialect has it.
    pub(crate) in_place: Cell<bool>,
    /// Whether a global assertion was made at file scope.
    pub(crate) asserted: Cell<bool>,
    /// Where the file is listed and not run: its tests so far.
    pub(crate) listed: RefCell<Option<Vec<ListedTest>>>,
    /// The tests registered so far.
    pub(crate) tests: RefCell<Vec<Registered>>,
    /// Functions to run before each test.
    pub(crate) before_each: RefCell<Vec<Function>>,
    /// Functions to run after each test.
    pub(crate) after_each: RefCell<Vec<Function>>,
    /// Reason to skip all tests, if `todo` was called at file scope.
    pub(crate) todo: RefCell<Option<String>>,
    /// Time limit of each test that has none of its own.
    pub(crate) default_timeout: Cell<Option<Duration>>,
    /// Whether tests run side by side, each in a Lua state and with guests of its own.
    pub(crate) parallel: Cell<bool>,
    /// Whether a VM was taken out of a fixture.
    pub(crate) has_fixture: Cell<bool>,
    /// The only test that is wanted of it, whatever it registers.
    only: Option<String>,
    /// Whether every VM is put back before each test.
    pub(crate) reset_between_tests: Cell<bool>,
    /// The fixture build this file is the source of.
    building: Option<Building>,
    /// Other files that it has told of.
    used: RefCell<BTreeSet<PathBuf>>,
    snapshots: Cell<usize>,
    /// Lines printed outside a test, for the log of the next.
    pub(crate) printed: RefCell<Vec<String>>,
    /// What is known of its guests.
    pub(crate) evidence: Evidence,
    running: RefCell<Option<Rc<TestRun>>>,
}

impl File {
    /// The file of a job, before its chunk runs; `sink` hears of its tests.
    pub(crate) fn new(job: &FileJob, source: Source, sink: &Arc<dyn Sink>) -> Rc<File> {
        File::with_build(job, source, None, None, Arc::clone(sink))
    }

    /// The same for one of its tests alone.
    pub(crate) fn of_test(job: &FileJob, source: Source, sink: &Arc<dyn Sink>, test: &str) -> Rc<File> {
        File::with_build(job, source, None, Some(test.to_owned()), Arc::clone(sink))
    }

    /// The source of a fixture that is being built; it has no tests to hear of.
    pub(crate) fn of_fixture(job: &FileJob, source: Source, building: Building) -> Rc<File> {
        File::with_build(job, source, Some(building), None, Arc::new(Discard))
    }

    fn with_build(
        job: &FileJob,
        source: Source,
        building: Option<Building>,
        only: Option<String>,
        sink: Arc<dyn Sink>,
    ) -> Rc<File> {
        let progress = Arc::clone(&job.progress);
        let at_line = Box::new(move |line| progress.at_line(line));
        let script = Script::new(&job.shown, &job.config.project, &job.cancel, job.timeout, at_line);
        Rc::new(File {
            account: match &building {
                None => Account::open(&job.pool, &job.shown, Arc::clone(&sink), Arc::clone(&job.cancel)),
                // Whoever waits for the fixture may have what this would wait for.
                Some(_) => {
                    Account::open_at_once(&job.pool, &job.shown, Arc::clone(&sink), Arc::clone(&job.cancel))
                }
            },
            splats: FileSplats::new(&job.config.splats, Arc::clone(script.splat())),
            script,
            job: job.clone(),
            source,
            scopes: Scopes::default(),
            sink,
            names: RefCell::default(),
            results: RefCell::default(),
            in_place: Cell::default(),
            asserted: Cell::default(),
            listed: RefCell::default(),
            tests: RefCell::default(),
            before_each: RefCell::default(),
            after_each: RefCell::default(),
            todo: RefCell::default(),
            default_timeout: Cell::default(),
            parallel: Cell::default(),
            has_fixture: Cell::default(),
            only,
            reset_between_tests: Cell::default(),
            building,
            used: RefCell::default(),
            snapshots: Cell::default(),
            printed: RefCell::default(),
            evidence: Evidence::default(),
            running: RefCell::default(),
        })
    }

    /// A fresh Lua state for it, which knows no globals of the API yet.
    pub(crate) fn create_state(self: &Rc<File>) -> mlua::Result<Lua> {
        let lua = create(&self.script, &self.module_folders())?;
        lua.set_app_data(Rc::clone(self));
        Ok(lua)
    }

    /// Folders that `require` looks in, in this order.
    pub(crate) fn module_folders(&self) -> Vec<&Path> {
        let mut folders: Vec<&Path> = self.job.config.roots.iter().map(|root| root.as_path()).collect();
        if !folders.contains(&self.project()) {
            folders.push(self.project());
        }
        folders
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

    /// Notes that a fixture build takes something in, before it does; a test file tells of it.
    pub(crate) fn takes_in(&self, input: Input) -> Result<(), String> {
        match &self.building {
            Some(building) => building.inputs().add(input).map_err(|error| error.to_string()),
            None => {
                input.file().into_iter().for_each(|path| self.uses(path));
                Ok(())
            }
        }
    }

    /// Tells that the file uses another, once.
    pub(crate) fn uses(&self, path: &Path) {
        if self.used.borrow_mut().insert(path.to_owned()) {
            self.sink.emit(Event::FileUses {
                path: self.job.shown.clone(),
                uses: path.to_owned(),
            });
        }
    }

    /// A number for the next snapshot that this file makes.
    pub(crate) fn next_snapshot(&self) -> usize {
        let number = self.snapshots.get();
        self.snapshots.set(number + 1);
        number
    }

    /// What it has of the host's memory and processors.
    pub(crate) fn account(&self) -> &Arc<Account> {
        &self.account
    }

    /// The splats of its guests.
    pub(crate) fn splats(&self) -> &Arc<FileSplats> {
        &self.splats
    }

    /// The script that it is to its Lua state.
    pub(super) fn script(&self) -> &Script {
        &self.script
    }

    /// Hears of its tests.
    pub(crate) fn sink(&self) -> &Arc<dyn Sink> {
        &self.sink
    }

    /// Does something that takes time, of which its sink hears.
    pub(crate) fn at_stage<R>(&self, stage: Stage, action: impl FnOnce() -> R) -> R {
        let tell = |stage| {
            self.sink.emit(Event::FileStage {
                path: self.job.shown.clone(),
                stage,
            });
        };
        tell(stage);
        let result = action();
        tell(Stage::Runs);
        result
    }

    /// The only test that is wanted of it, if it is run for one.
    pub(crate) fn only(&self) -> Option<&str> {
        self.only.as_deref()
    }

    /// Whether the file is one test by itself: it asserts, says `todo()` or uses the classic dialect, and has
    /// no tests.
    pub(crate) fn is_a_test(&self) -> bool {
        let says_something = self.asserted.get() || self.in_place.get() || self.todo.borrow().is_some();
        says_something && self.names.borrow().is_empty()
    }

    /// Job of the file.
    pub(crate) fn job(&self) -> &FileJob {
        &self.job
    }

    /// The project's folder.
    pub(crate) fn project(&self) -> &Path {
        &self.job.config.project
    }

    /// Lua's name for its chunk.
    pub(crate) fn chunk_name(&self) -> &str {
        self.script.chunk_name()
    }

    /// Source text of the file.
    pub(crate) fn source(&self) -> &Source {
        &self.source
    }

    /// The test that runs now.
    pub(crate) fn running(&self) -> Option<Rc<TestRun>> {
        self.running.borrow().clone()
    }

    /// The token that ends what runs now: the test's, else the file's.
    pub(crate) fn cancel(&self) -> Arc<Cancel> {
        self.script.cancel()
    }

    /// Begins a test with a time limit; returns its token.
    pub(crate) fn begin_test(&self, run: &Rc<TestRun>, limit: Option<Duration>) -> Arc<Cancel> {
        *self.running.borrow_mut() = Some(Rc::clone(run));
        self.script.begin_part(limit)
    }

    /// Ends what has a token of its own: a test's body, its clean-up. Returns why it was ended from outside,
    /// if it was.
    pub(crate) fn end_part(&self) -> Option<Ending> {
        self.script.end_part()
    }

    /// Begins what cleans up after a test, which is not ended by what has ended the test.
    pub(crate) fn begin_cleanup(&self, token: &Arc<Cancel>, limit: Option<Duration>) {
        self.script.begin_detached(token, limit);
    }

    /// Ends the test.
    pub(crate) fn end_test(&self) {
        *self.running.borrow_mut() = None;
    }

    /// Whether the file was ended from outside, and that was not taken note of yet.
    pub(crate) fn has_ending(&self) -> bool {
        self.script.has_ending()
    }

    /// Takes the reason for which the file was ended from outside.
    pub(crate) fn take_ending(&self) -> Option<Ending> {
        self.script.take_ending()
    }

    /// Takes in a test's result; of one that has run before, what says more: the first failure, else the last
    /// result, with the runs and the time of both.
    pub(crate) fn record(&self, mut result: TestResult) {
        let mut results = self.results.borrow_mut();
        let Some(known) = results.iter_mut().find(|known| known.name == result.name) else {
            results.push(result);
            return;
        };
        if known.status.counts_against_the_run() {
            std::mem::swap(known, &mut result);
        }
        result.attempts += known.attempts;
        result.duration_ns += known.duration_ns;
        result.flaky |= known.flaky;
        *known = result;
    }

    /// Drops every Lua value, before the Lua state closes.
    pub(crate) fn forget_lua(&self) {
        self.tests.take();
        self.before_each.take();
        self.after_each.take();
        self.running.take();
    }
}

impl Call<'_> {
    /// The test file that the call is made in.
    pub(crate) fn file(&self) -> Rc<File> {
        File::of(self.lua())
    }

    /// The argument as a path of the host, relative to the project's folder.
    pub(crate) fn host_path(&self, at: usize) -> Result<PathBuf, Raise> {
        let path = self.name(at, "a string as path")?;
        Ok(self.file().project().join(path))
    }

    /// Notes an input of the fixture that is being built, if one is, before the call takes it in.
    pub(crate) fn takes_in(&self, input: Input) -> Result<(), Raise> {
        self.file().takes_in(input).map_err(|message| self.fail(message))
    }

    /// Notes a file of the host as an input of the fixture that is being built.
    pub(crate) fn takes_in_file(&self, path: &Path) -> Result<(), Raise> {
        self.takes_in(Input::HostFile {
            path: path.to_owned(),
        })
    }
}
