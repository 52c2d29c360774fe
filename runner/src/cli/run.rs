//! `provium [PATHS]`: runs tests.
//!
//! Input: the arguments. Output: reports and the exit code. The order is one of growing cost: arguments,
//! configuration, files to run, builds, where to run, tests. Not here: each of these steps.

use std::path::PathBuf;
use std::sync::Arc;

use provium_base::cancel::Cancel;
use provium_base::events::{Event, HostEvent};
use provium_base::{exit, outer};
use provium_guest::WarmPool;
use provium_vmm::disk::{keep_overlays_in, limit_overlays, tell_of_failures};

use super::args::{ProgressChoice, RunArgs};
use super::chosen::{self, Chosen, History};
use super::defaults;
use super::host;
use super::interrupt::{SignalWatch, on_signal};
use super::matrix;
use super::print::complain;
use super::project::Project;
use super::screen::Screen;
use super::settings::{Settings, Surroundings};
use super::supervise::{self, Control, Process, Worker};
use super::watch;
use crate::discover;
use crate::doctor::{self, Accel, Way};
use crate::lua;
use crate::session::artifacts::Artifacts;
use crate::session::journal::Journal;
use crate::session::known::KnownFailures;
use crate::session::pool::Pool;
use crate::session::{Ending, Outcome, RunOptions, Session};
use crate::stock::{Fixtures, Sweep};

pub(super) fn run(args: RunArgs) -> anyhow::Result<u8> {
    if args.running.watch {
        return watch::watch(args);
    }
    let project = Project::load(&args.choose.project, &args.choose.paths)?;
    let args = defaults::apply(&project.config, args)?;
    if let Some(matrix) = &args.running.matrix {
        return matrix::run(&project, &args, matrix);
    }
    let history = History::read(&project, &args.select, &args.order)?;
    let chosen = chosen::choose(&project, &args.choose, &args.select, &history)?;
    if let Some(why) = chosen.nothing {
        complain(&format!("provium: {why}"));
        return Ok(exit::SUCCESS);
    }
    let around = Surroundings::of_process();
    let settings = Settings::resolve(&args, &around);
    known_failures(&args, &project)?;
    // A journal means that this is the emulated host's end of a run: it is reported, and the builds are done,
    // at the other.
    let process = match &args.running.journal {
        Some(journal) => supervise::split_below(journal)?,
        None => supervise::split(settings.progress == ProgressChoice::Bar)?,
    };
    match process {
        Process::Reporter(worker) => report(&args, &project, &chosen, &settings, &around, worker),
        Process::Worker(journal, control) => work(args, &project, journal, control),
        Process::Supervisor(code) => Ok(code),
    }
}

/// Prepares the run and reports it, which goes on in the worker, or in the emulated host.
fn report(
    args: &RunArgs,
    project: &Project,
    chosen: &Chosen,
    settings: &Settings,
    around: &Surroundings,
    worker: Worker,
) -> anyhow::Result<u8> {
    let screen = Screen::new(settings, &args.reports, around, &project.cwd)?;
    let cancel = Cancel::new();
    let watch = SignalWatch::new(&cancel)?;
    if !args.running.no_build && !project.build_profiles(args.show.verbose, &cancel, &*screen.sink)? {
        return Ok(exit::INTERRUPTED);
    }
    project.config.check_files()?;
    clear_artifacts(args, project)?;
    // Tests that boot nothing run on any host, unless one is asked for by name.
    let accel = args.running.accel;
    if !project.config.profiles.is_empty()
        && (accel != Accel::Auto || chosen.may_boot(project)?)
        && let Way::EmulatedHost { because } = doctor::choose(accel)?
    {
        drop(worker);
        screen.sink.emit(HostEvent::Chosen { because });
        read_outside(args, project, &screen, &cancel);
        let (artifacts, _) = artifacts(args, project)?;
        return host::run(project, &artifacts, watch, &cancel, &screen);
    }
    let code = worker.run(&screen, watch, &cancel)?;
    screen.code_of(code)
}

/// Runs the tests, and leaves it to another process to report them.
fn work(
    mut args: RunArgs,
    project: &Project,
    journal: PathBuf,
    control: Option<Control>,
) -> anyhow::Result<u8> {
    args.running.journal = Some(journal);
    let sweep = match control {
        Some(_) => Sweep::Here,
        None => Sweep::Outside,
    };
    let cancel = Cancel::new();
    let screen = Screen::elsewhere()?;
    let _watch = match control {
        // Whoever reports has looked at the rest.
        Some(control) => {
            control.on_signal(on_signal(&cancel))?;
            None
        }
        None => {
            let watch = SignalWatch::new(&cancel)?;
            project.config.check_files()?;
            if !project.config.profiles.is_empty() {
                doctor::choose(args.running.accel)?;
            }
            Some(watch)
        }
    };
    screen.own_stdout()?;
    let mut session = session(&args, project, sweep, &screen);
    let outcome = carry_out(&args, project, &mut session, &cancel);
    drop(session); // its guests end before the report is judged
    match outcome? {
        Some(outcome) => judge(outcome, &screen, &cancel),
        None => Ok(exit::SUCCESS),
    }
}

/// What runs of the project share. `sweep` says who sees to the cache: before an emulated host starts,
/// [`read_outside`] has.
pub(super) fn session(args: &RunArgs, project: &Project, sweep: Sweep, screen: &Screen) -> Session {
    let pool = Pool::of_host(&Settings::resolve(args, &Surroundings::of_process()).pool);
    Session::new(
        project.config.clone(),
        fixtures(project, sweep, args.running.ready, &pool, screen),
        pool,
        screen.sink.clone(),
        Arc::new(lua::run_file),
    )
}

/// Runs the files that the arguments mean, on this host's KVM; nothing if they mean none, which is said.
pub(super) fn carry_out(
    args: &RunArgs,
    project: &Project,
    session: &mut Session,
    cancel: &Arc<Cancel>,
) -> anyhow::Result<Option<Outcome>> {
    let history = History::read(project, &args.select, &args.order)?;
    let chosen = chosen::choose(project, &args.choose, &args.select, &history)?;
    if let Some(why) = chosen.nothing {
        complain(&format!("provium: {why}"));
        return Ok(None);
    }
    let (order, said) = history.order(&args.order);
    if let Some(said) = said {
        complain(&format!("provium: {said}"));
    }
    let settings = Settings::resolve(args, &Surroundings::of_process());
    let (artifacts, shown_artifacts) = artifacts(args, project)?;
    let options = RunOptions {
        jobs: settings.jobs,
        timeout: settings.timeout,
        max_failures: settings.max_failures,
        selection: chosen.selection,
        order,
        repeat: settings.repeat,
        retries: args.running.retries.unwrap_or(0),
        allow_empty: args.running.allow_empty,
        known: Arc::new(known_failures(args, project)?.unwrap_or_default()),
        observed: args.reports.is_followed(),
        artifacts: Some(Arc::new(Artifacts::new(artifacts, shown_artifacts))),
        journal: args.running.journal.as_deref().map(Journal::open).transpose()?,
    };
    let outcome = session.run(chosen.files.clone(), options, cancel)?;
    history.note(project, &chosen.files, &outcome);
    Ok(Some(outcome))
}

/// The exit code of a run that was carried out and reported.
pub(super) fn judge(outcome: Outcome, screen: &Screen, cancel: &Cancel) -> anyhow::Result<u8> {
    screen.reports.check()?;
    match screen.is_read() {
        Ok(true) => {}
        // The terminal may have gone away, which is why the run was ended.
        _ if cancel.is_cancelled().is_some() => return Ok(exit::INTERRUPTED),
        Ok(false) => return Ok(exit::HARNESS),
        Err(error) => return Err(error),
    }
    if !outcome.missing.is_empty() && cancel.is_cancelled().is_none() {
        anyhow::bail!(outcome.missing.join("; "));
    }
    if let Ending::NothingRan { why } = outcome.ending {
        anyhow::bail!(why);
    }
    Ok(outcome.exit_code())
}

/// The folder for what failed tests leave, and how it is named.
pub(super) fn artifacts(args: &RunArgs, project: &Project) -> anyhow::Result<(PathBuf, String)> {
    let folder = match &args.show.artifacts {
        Some(folder) => std::path::absolute(project.cwd.join(folder))?,
        None => Artifacts::default_folder(&project.config.project),
    };
    let shown = discover::shown(&folder, &project.cwd);
    Ok((folder, shown))
}

/// Removes what failed tests of the run before have left.
pub(super) fn clear_artifacts(args: &RunArgs, project: &Project) -> anyhow::Result<()> {
    let (folder, shown) = artifacts(args, project)?;
    Ok(Artifacts::clear(&folder, &shown)?)
}

/// Reads what takes much longer to read in the emulated host.
pub(super) fn read_outside(args: &RunArgs, project: &Project, screen: &Screen, cancel: &Arc<Cancel>) {
    let pool = Pool::of_host(&Settings::resolve(args, &Surroundings::of_process()).pool);
    fixtures(project, Sweep::Here, 0, &pool, screen).read_outside(cancel);
}

/// The known failures that the command line names, or else the configuration.
fn known_failures(args: &RunArgs, project: &Project) -> anyhow::Result<Option<KnownFailures>> {
    let given = args
        .running
        .known_failures
        .as_ref()
        .map(|path| project.cwd.join(path));
    let Some(path) = given.as_ref().or(project.config.known_failures.as_ref()) else {
        return Ok(None);
    };
    let shown = discover::shown(path, &project.cwd);
    Ok(Some(KnownFailures::read(path, &shown, &project.config.project)?))
}

/// The project's fixtures, for which `ready` machines are made ahead.
fn fixtures(
    project: &Project,
    sweep: Sweep,
    ready: usize,
    pool: &Arc<Pool>,
    screen: &Screen,
) -> Arc<Fixtures> {
    let build = lua::builder(pool);
    let (config, sink) = (project.config.clone(), screen.sink.clone());
    let is_shared = provium_emulated::is_inside() && !outer::is_with_the_root(&config.cache_dir);
    limit_overlays(config.disk_max);
    let fixtures = Fixtures::swept(sweep, config, WarmPool::new(ready), sink, build);
    if is_shared {
        // An emulated host's own disk is quicker than what it shares, and goes with it.
        fixtures.use_temporary(std::env::temp_dir());
    }
    let heard = screen.sink.clone();
    tell_of_failures(move |message| heard.emit(Event::Warning { message }));
    let of_disks = Arc::downgrade(&fixtures);
    keep_overlays_in(move || match of_disks.upgrade() {
        Some(fixtures) => fixtures.temporary().map_err(std::io::Error::other),
        None => Ok(std::env::temp_dir()),
    });
    fixtures
}
