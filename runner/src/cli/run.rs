//! `provium [PATHS]`: runs tests.
//!
//! Enters: the arguments. Leaves: reports and the exit code. The order is one of growing cost: arguments,
//! configuration, files to run, builds, where to run, tests.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use indicatif::{MultiProgress, ProgressDrawTarget};

use super::args::{ProgressChoice, RunArgs};
use super::settings::{Settings, Surroundings};
use super::{EXIT_HARNESS, Project, exit_code};
use crate::cancel::{Cancel, CancelReason};
use crate::doctor::{self, Way};
use crate::guest::{Fixtures, Ready};
use crate::report::{
    GithubReporter, JsonReporter, LiveReporter, Output, Paint, PlainReporter, ProgressReporter, Reporter,
    Reporters,
};
use crate::run::build::{self, BuildError};
use crate::run::interrupt::{EXIT_INTERRUPTED, Watch};
use crate::run::journal::Journal;
use crate::run::pool::{Limits, Pool};
use crate::run::select::{KeyValue, NameFilter};
use crate::run::{self, Plan};
use crate::{emulated, fixture, lua};

/// How long a file may take to clean up once it is told to stop.
const GRACE: Duration = Duration::from_secs(30);

pub(super) fn run(args: RunArgs) -> anyhow::Result<u8> {
    let project = Project::load(&args.choose)?;
    let files = project.files(&args.choose)?;
    let around = Surroundings::of_process();
    let settings = Settings::resolve(&args, &around);

    let cancel = Cancel::new();
    let watch = Watch::new(&cancel).map_err(|error| anyhow::anyhow!("cannot watch for Ctrl-C: {error}"))?;
    let screen = Screen::new(settings.progress);
    // A journal means that this is the emulated host's end of a run whose builds are done.
    if args.journal.is_none() {
        let built = build::build_profiles(&project.config, args.verbose, &cancel, &|line| screen.say(line));
        match built {
            Err(BuildError::Cancelled(_, CancelReason::Interrupted)) => return Ok(EXIT_INTERRUPTED),
            built => built?,
        }
    }
    project.config.check_files()?;
    // Without a profile no test can boot anything, so any host will do.
    if !project.config.profiles.is_empty()
        && let Way::EmulatedHost { because } = doctor::choose(args.accel)?
    {
        if let Some(because) = because.filter(|_| !args.quiet) {
            // The rest of what is wrong is for `doctor`.
            let first = because.split("; ").next().unwrap_or_default();
            screen.say(&format!(
                "{first}; tests run in the emulated host (`provium doctor` says more)"
            ));
        }
        drop(watch); // from here on signals are for the run inside
        return in_emulated_host(&project, 0);
    }

    let journal = args.journal.as_deref().map(Journal::open).transpose()?;
    let filter = NameFilter {
        substring: args.filter,
        expression: args.expression,
        with: args
            .tag
            .into_iter()
            .map(KeyValue::tag)
            .chain(args.tag_meta)
            .collect(),
        without: args
            .no_tag
            .into_iter()
            .map(KeyValue::tag)
            .chain(args.no_tag_meta)
            .collect(),
        include_slow: args.include_slow,
    };
    let (filtered, found) = (filter.is_active(), files.len());
    let reporter = screen.reporter(args.json, settings, &around, &project);
    let _message = {
        let stderr = screen.stderr.clone();
        cancel.on_cancel(Box::new(move || {
            stderr.write("provium: ending the running tests; Ctrl-C again to quit at once\n");
        }))
    };
    let config = Arc::new(project.config);
    let fixtures = {
        let stderr = screen.stderr.clone();
        let quiet = args.quiet;
        let say = move |event: &fixture::Event| {
            // That something is found is what is expected; all else explains a wait, or is a warning.
            if event.is_warning() || !(quiet || matches!(event, fixture::Event::CacheHit { .. })) {
                stderr.write(&format!("provium: {event}\n"));
            }
        };
        Fixtures::new(config.clone(), Ready::new(args.ready), Box::new(say))
    };
    let plan = Plan {
        files,
        jobs: settings.jobs,
        timeout: Some(args.timeout).filter(|timeout| !timeout.is_zero()),
        fail_fast: args.fail_fast,
        filter,
        config,
        fixtures: fixtures.clone(),
        pool: Pool::of_host(&Limits {
            memory: args.mem,
            cpus: args.cpus,
            overcommit: args.cpu_overcommit,
        }),
        grace: GRACE,
        journal,
    };
    let summary = run::run(plan, Arc::new(lua::run_file), reporter, &cancel);
    fixtures.close();
    let summary = summary?;
    if let Some(error) = screen.stdout.take_error() {
        // Whoever reads the report has gone, as `head` does; there is nobody to complain to.
        if error.kind() == io::ErrorKind::BrokenPipe {
            return Ok(EXIT_HARNESS);
        }
        anyhow::bail!("writing the report: {error}");
    }
    if filtered && summary.files == 0 && summary.stopped.is_none() {
        anyhow::bail!("none of the tests in {found} file(s) is selected by the filter");
    }
    Ok(summary.exit_code())
}

/// Runs this very command line, which begins with the `words` of a subcommand, in the emulated host, where the
/// project and the cache can be written.
pub(super) fn in_emulated_host(project: &Project, words: usize) -> anyhow::Result<u8> {
    let mut writable = vec![project.config.project.clone()];
    if !project.cwd.starts_with(&project.config.project) {
        writable.push(project.cwd.clone());
    }
    let cache = &project.config.cache_dir;
    std::fs::create_dir_all(cache)
        .map_err(|error| anyhow::anyhow!("cannot make the cache folder {}: {error}", cache.display()))?;
    writable.push(cache.clone());
    let args: Vec<_> = std::env::args_os().skip(1).collect();
    Ok(exit_code(emulated::reexec(&args, words, &writable)?))
}

/// The process's two streams and the live view that shares the terminal with them.
struct Screen {
    stdout: Arc<Output>,
    stderr: Arc<Output>,
    live: Option<MultiProgress>,
    progress: ProgressChoice,
}

impl Screen {
    fn new(progress: ProgressChoice) -> Screen {
        let live = (progress == ProgressChoice::Bar)
            .then(|| MultiProgress::with_draw_target(ProgressDrawTarget::stderr_with_hz(10)));
        Screen {
            stdout: Arc::new(Output::new(Box::new(io::stdout()), live.clone())),
            stderr: Arc::new(Output::new(Box::new(io::stderr()), live.clone())),
            live,
            progress,
        }
    }

    /// A line about the run that is no part of the report.
    fn say(&self, line: &str) {
        self.stderr.write(&format!("provium: {line}\n"));
    }

    fn reporter(
        &self,
        json: bool,
        settings: Settings,
        around: &Surroundings,
        project: &Project,
    ) -> Arc<dyn Reporter> {
        let mut reporters: Vec<Box<dyn Reporter>> = Vec::new();
        // The live view first: a file's line leaves it before the report's line is printed.
        match (&self.live, self.progress) {
            (Some(live), _) => reporters.push(Box::new(LiveReporter::new(live.clone()))),
            (None, ProgressChoice::Plain) => {
                reporters.push(Box::new(ProgressReporter::new(self.stderr.clone())))
            }
            _ => {}
        }
        if json {
            reporters.push(Box::new(JsonReporter(self.stdout.clone())));
        } else {
            let paint = Paint(settings.color);
            reporters.push(Box::new(PlainReporter::new(
                self.stdout.clone(),
                paint,
                settings.verbosity,
            )));
        }
        if around.github {
            let workspace = around.github_workspace.clone();
            reporters.push(Box::new(GithubReporter::new(
                self.stderr.clone(),
                project.cwd.clone(),
                workspace,
            )));
        }
        Arc::new(Reporters(reporters))
    }
}
