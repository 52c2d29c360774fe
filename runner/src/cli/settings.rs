//! What the command line leaves to the machine and the terminal, decided.
//!
//! Input: arguments and what this process is attached to. Output: plain facts for the run. Not here: the
//! configuration, which `config` resolves.

use std::env;
use std::io::{self, IsTerminal};
use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use super::args::{ColorChoice, ProgressChoice, RunArgs};
use crate::report::{Dialect, Notices, Verbosity};
use crate::session::pool::Limits;
use crate::session::repeat::Repeat;

/// Time limit of a file where nobody says another.
const TIMEOUT: Duration = Duration::from_secs(300);

/// What this process is attached to.
#[derive(Debug, Clone, Default)]
pub struct Surroundings {
    /// Whether stdout is a terminal.
    pub stdout_terminal: bool,
    /// Whether stderr is a terminal.
    pub stderr_terminal: bool,
    /// Whether `NO_COLOR` is set to anything.
    pub no_color: bool,
    /// Whether the terminal cannot move its cursor (`TERM=dumb`).
    pub dumb: bool,
    /// Whether this is a job of GitHub Actions.
    pub github: bool,
    /// The repository such a job has checked out.
    pub github_workspace: Option<PathBuf>,
    /// Where such a job's summary is gathered.
    pub github_summary: Option<PathBuf>,
    /// Whether this is a job of GitLab.
    pub gitlab: bool,
    /// Processors this process may use.
    pub processors: usize,
}

impl Surroundings {
    /// This process's.
    pub fn of_process() -> Self {
        let set = |name| env::var_os(name).filter(|value| !value.is_empty());
        Surroundings {
            stdout_terminal: io::stdout().is_terminal(),
            stderr_terminal: io::stderr().is_terminal(),
            no_color: set("NO_COLOR").is_some(),
            dumb: set("TERM").is_some_and(|term| term == "dumb"),
            github: set("GITHUB_ACTIONS").is_some_and(|value| value == "true"),
            github_workspace: set("GITHUB_WORKSPACE").map(PathBuf::from),
            github_summary: set("GITHUB_STEP_SUMMARY").map(PathBuf::from),
            gitlab: set("GITLAB_CI").is_some_and(|value| value == "true"),
            processors: thread::available_parallelism().map_or(1, usize::from),
        }
    }
}

/// What the report on stdout is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// Text for people.
    Plain,
    /// A JSON object a file.
    Json,
    /// TAP or KTAP.
    Tap(Dialect),
}

/// How a run is shown and spread over the machine.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// Files at a time.
    pub jobs: usize,
    /// Time limit of a file.
    pub timeout: Option<Duration>,
    /// How often tests run.
    pub repeat: Repeat,
    /// Number of failures that ends the run.
    pub max_failures: Option<usize>,
    /// What files can reserve.
    pub pool: Limits,
    /// Number of slowest tests to name.
    pub durations: Option<usize>,
    /// What the report on stdout is.
    pub form: Form,
    /// Colours in the report.
    pub color: bool,
    /// How running files are shown; never `Auto`.
    pub progress: ProgressChoice,
    /// What the plain report says.
    pub verbosity: Verbosity,
    /// What is said beside it.
    pub notices: Notices,
}

impl Settings {
    /// Decides.
    pub fn resolve(args: &RunArgs, around: &Surroundings) -> Settings {
        let color = match args.show.color {
            ColorChoice::Always => true,
            ColorChoice::Never => false,
            ColorChoice::Auto => around.stdout_terminal && !around.no_color && !around.dumb,
        };
        let bar = around.stderr_terminal && !around.dumb && !args.show.quiet;
        let progress = match args.show.progress {
            ProgressChoice::Auto if bar => ProgressChoice::Bar,
            ProgressChoice::Auto => ProgressChoice::None,
            chosen => chosen,
        };
        let verbosity = match (args.show.quiet, args.show.verbose) {
            (true, _) => Verbosity::Quiet,
            (_, true) => Verbosity::Verbose,
            _ => Verbosity::Normal,
        };
        let running = &args.running;
        let repeat = Repeat {
            rounds: match (running.repeat, running.until_fail) {
                (None, true) => None,
                (rounds, _) => Some(rounds.unwrap_or(1)),
            },
            until_fail: running.until_fail,
        };
        // A limit that nobody gave is none for what has no end.
        let timeout = running.timeout.or(repeat.rounds.map(|_| TIMEOUT));
        Settings {
            jobs: args.running.jobs.unwrap_or(around.processors),
            timeout: timeout.filter(|timeout| !timeout.is_zero()),
            repeat,
            max_failures: match running.fail_fast || running.until_fail {
                true => Some(1),
                false => running.maxfail,
            },
            pool: Limits {
                memory: args.running.mem,
                cpus: args.running.cpus,
                overcommit: args.running.cpu_overcommit,
            },
            durations: args.show.durations,
            form: match (args.show.json, args.reports.tap, args.reports.ktap) {
                (true, ..) => Form::Json,
                (_, true, _) => Form::Tap(Dialect::Tap),
                (_, _, true) => Form::Tap(Dialect::Ktap),
                _ => Form::Plain,
            },
            color,
            progress,
            verbosity,
            notices: match args.show.quiet {
                true => Notices::Few,
                false => Notices::Waits,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::args::Cli;
    use clap::Parser;

    fn resolve(args: &[&str], around: &Surroundings) -> Settings {
        let cli = Cli::try_parse_from([&["provium"], args].concat()).expect("parses");
        Settings::resolve(&cli.run, around)
    }

    #[test]
    fn a_pipe_gets_neither_colours_nor_a_live_view() {
        let around = Surroundings {
            processors: 4,
            ..Surroundings::default()
        };
        let settings = resolve(&[], &around);
        assert_eq!(
            (settings.color, settings.progress, settings.jobs),
            (false, ProgressChoice::None, 4)
        );
        let settings = resolve(&["--color=always", "--progress=plain", "-j1"], &around);
        assert_eq!(
            (settings.color, settings.progress, settings.jobs),
            (true, ProgressChoice::Plain, 1)
        );
    }

    #[test]
    fn a_terminal_gets_both_unless_told_otherwise() {
        let around = Surroundings {
            stdout_terminal: true,
            stderr_terminal: true,
            processors: 2,
            ..Surroundings::default()
        };
        let both = |args: &[&str], around: &Surroundings| {
            let settings = resolve(args, around);
            (settings.color, settings.progress)
        };
        assert_eq!(both(&[], &around), (true, ProgressChoice::Bar));
        assert_eq!(both(&["-q"], &around), (true, ProgressChoice::None));
        assert_eq!(
            both(&["--color=never", "--progress=none"], &around),
            (false, ProgressChoice::None)
        );
        assert_eq!(
            both(
                &[],
                &Surroundings {
                    no_color: true,
                    ..around.clone()
                }
            ),
            (false, ProgressChoice::Bar)
        );
        assert_eq!(
            both(&[], &Surroundings { dumb: true, ..around }),
            (false, ProgressChoice::None)
        );
    }
}
