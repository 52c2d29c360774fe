//! The ways into this folder: a test file is run or listed, a fixture's source is run.
//!
//! Input: a [`FileJob`], or a fixture's source and its build. Output: a [`FileResult`], a [`Listed`], or the
//! fixture's files. Here a file gets what the floors below must not know of each other: a Lua state with the
//! whole API, and the baseline of its VMs. Not here: how a file is run.

use std::rc::Rc;
use std::sync::Arc;

use mlua::Lua;
use provium_base::cancel::Cancel;
use provium_base::cause::Cause;
use provium_base::events::{Discard, Sink};
use provium_base::outcome::FileResult;
use provium_cache::{Building, FixtureSource};
use provium_guest::Baseline;

use super::api::binding::Kind;
use super::api::interrupt;
use super::api::source::Source;
use super::objects::fixture_entry::store;
use super::objects::lab::claim;
use super::objects::lab::handle::Lab;
use super::test::chunk::run_source;
use super::test::file::File;
use super::test::parallel::SideBySide;
use super::test::rounds::PutBack;
use super::test::{globals, listing, modules, runner};
use crate::config::Config;
use crate::discover::shown;
use crate::session::job::FileJob;
use crate::session::listed::Listed;
use crate::session::order::Order;
use crate::session::pool::Pool;
use crate::session::repeat::Repeat;
use crate::stock::{BuildFixture, Fixtures};

/// Runs one test file; `sink` hears of its tests.
pub fn run_file(job: &FileJob, sink: &Arc<dyn Sink>) -> FileResult {
    run_prepared(job, sink, |_| Ok(()))
}

/// Lists one test file: runs its own code with handles that boot nothing, and none of its tests.
pub fn list_file(job: &FileJob) -> Listed {
    let not_listed = |error| Listed {
        shown: job.shown.clone(),
        path: job.path.clone(),
        tests: Vec::new(),
        error: Some(error),
    };
    let source = match Source::read(&job.path) {
        Ok(source) => source,
        Err(error) => return not_listed(format!("cannot be read: {}", Cause(&error))),
    };
    let sink: Arc<dyn Sink> = Arc::new(Discard);
    let file = File::new(job, source, &sink);
    let created = create(&file).and_then(|(lua, lab)| listing::install(&lua, &file).map(|()| (lua, lab)));
    let (lua, lab) = match created {
        Ok(created) => created,
        Err(error) => return not_listed(format!("Lua cannot be set up: {error}")),
    };
    let listed = listing::list(&lua, &file);
    end(&lua, &file, &lab);
    listed
}

/// Runs one test file in a state that `prepare` may add to.
pub(super) fn run_prepared(
    job: &FileJob,
    sink: &Arc<dyn Sink>,
    prepare: impl FnOnce(&Lua) -> mlua::Result<()>,
) -> FileResult {
    let source = match Source::read(&job.path) {
        Ok(source) => source,
        Err(error) => return not_run(job, format!("{}: cannot be read: {}", job.shown, Cause(&error))),
    };
    let file = File::new(job, source, sink);
    let created = create(&file).and_then(|(lua, lab)| prepare(&lua).map(|()| (lua, lab)));
    let (lua, lab) = match created {
        Ok(created) => created,
        Err(error) => return not_run(job, format!("{}: Lua cannot be set up: {error}", job.shown)),
    };
    let side_by_side = SideBySide {
        check: &|file| only_fixtures(file, &lab),
        run_alone: &|test| run_alone(job, sink, test),
    };
    let result = runner::run(&lua, &file, |file| baseline(file, &lab), &side_by_side);
    end(&lua, &file, &lab);
    result
}

/// Runs one test of a file in a Lua state of its own, in which the file's own code has run.
fn run_alone(job: &FileJob, sink: &Arc<dyn Sink>, test: &str) -> FileResult {
    let job = FileJob {
        // The file has told of its tests.
        progress: Arc::default(),
        ..job.clone()
    };
    let source = match Source::read(&job.path) {
        Ok(source) => source,
        Err(error) => return not_run(&job, format!("{}: cannot be read: {}", job.shown, Cause(&error))),
    };
    let file = File::of_test(&job, source, sink, test);
    let (lua, lab) = match create(&file) {
        Ok(created) => created,
        Err(error) => return not_run(&job, format!("{}: Lua cannot be set up: {error}", job.shown)),
    };
    let never = SideBySide {
        check: &|_| Ok(()),
        run_alone: &|_| not_run(&job, String::new()),
    };
    let result = runner::run(&lua, &file, |file| baseline(file, &lab), &never);
    end(&lua, &file, &lab);
    result
}

/// Whether the file's own code has made what each test can have for itself: guests out of fixtures.
fn only_fixtures(file: &File, lab: &Lab) -> Result<(), String> {
    let members = lab.inner().members().into_iter();
    let mut of_no_fixture = members.filter(|member| member.tag.fixture.is_none());
    let booted = of_no_fixture.find_map(|member| {
        let vm = member.tag.vm?;
        let runs = vm.core().machine().is_some();
        runs.then_some(vm)
    });
    match (booted, file.has_fixture.get()) {
        (Some(vm), _) => Err(format!(
            "provium.parallel: VM `{}` was booted by the file's own code, which runs again for each test; make a \
             fixture of it",
            vm.name()
        )),
        (None, true) => Ok(()),
        (None, false) => Err(
            "provium.parallel: each test gets a guest of its own out of a fixture, and the file's own code takes \
             none; use provium:vm_fixture or provium:lab_fixture there"
                .to_owned(),
        ),
    }
}

/// The result of a file of which nothing could be run.
fn not_run(job: &FileJob, error: String) -> FileResult {
    FileResult {
        passed: false,
        chunk_error: Some(error),
        ..FileResult::new(&job.shown)
    }
}

/// A function that builds fixtures, whose VMs are charged to `pool`.
pub fn builder(pool: &Arc<Pool>) -> Box<BuildFixture> {
    let pool = Arc::clone(pool);
    Box::new(move |config, fixtures, source, building, cancel| {
        build_fixture(&pool, config, fixtures, source, building, cancel)
    })
}

/// Runs a fixture's source, whose VMs are charged to `pool`, and leaves its snapshots in the build's folder.
///
/// # Errors
/// A message with the line of the source.
fn build_fixture(
    pool: &Arc<Pool>,
    config: &Arc<Config>,
    fixtures: &Arc<Fixtures>,
    source: &FixtureSource,
    building: &Building,
    cancel: &Arc<Cancel>,
) -> Result<(), String> {
    let text = Source::read(&source.path)
        .map_err(|error| format!("{}: {}", source.path.display(), Cause(&error)))?;
    let job = FileJob {
        pool: Arc::clone(pool),
        slots: Arc::default(),
        path: source.path.clone(),
        shown: shown(&source.path, &config.project),
        config: Arc::clone(config),
        number: 0,
        selection: Arc::default(),
        order: Order::default(),
        repeat: Repeat::default(),
        retries: 0,
        timeout: None,
        fixtures: Arc::clone(fixtures),
        known: Arc::default(),
        progress: Arc::default(),
        artifacts: None,
        observed: false,
        cancel: Arc::clone(cancel),
    };
    let file = File::of_fixture(&job, text, building.clone());
    let (lua, lab) = create(&file).map_err(|error| format!("Lua cannot be set up: {error}"))?;
    file.scopes.enter();
    let stored = run_source(&lua, &file).and_then(|value| store(source, building, &file, &value));
    file.scopes.leave();
    file.splats().end();
    file.forget_lua();
    end(&lua, &file, &lab);
    stored
}

/// A Lua state for `file` with all that its code finds, and the root lab in there.
pub(super) fn create(file: &Rc<File>) -> mlua::Result<(Lua, Lab)> {
    let lua = file.create_state()?;
    let lab = Lab::root();
    lab.set_root(&lua);
    lua.globals().set("provium", lab.clone().into_userdata(&lua)?)?;
    globals::set(&lua)?;
    modules::install(&lua)?;
    interrupt::watch(&lua)?;
    Ok((lua, lab))
}

/// A function that resets the file's VMs to what they are now.
fn baseline(file: &File, lab: &Lab) -> Result<Box<PutBack>, String> {
    let whose = match file.reset_between_tests.get() {
        true => "provium.reset_between_tests",
        false => "--repeat",
    };
    let mut opened = file.scopes.opened().into_iter();
    if let Some(opened) = opened.find(|opened| opened.sort.is_connection()) {
        return Err(format!(
            "{whose}: {} that was opened at {} is still open; no connection can live through a \
             reset, so open it in the tests",
            opened.what, opened.site
        ));
    }
    let (fixtures, cancel) = (Arc::clone(&file.job().fixtures), Arc::clone(&file.job().cancel));
    let taken = Baseline::take(lab.inner().all_vms(), &fixtures.until(&file.cancel()));
    let baseline = taken.map_err(|error| error.to_string())?;
    Ok(Box::new(move || {
        let back = baseline.put_back(&fixtures.until(&cancel));
        back.map_err(|error| format!("{whose}: {error}"))
    }))
}

/// Gives back what the file has reserved, and lets go of the Lua values in its labs, before its Lua state
/// closes.
fn end(lua: &Lua, file: &File, lab: &Lab) {
    claim::release(lua, file);
    lab.forget_members();
}
