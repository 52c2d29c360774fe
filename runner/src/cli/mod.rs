//! The `provium` command: from arguments to an exit code.
//!
//! Enters: the process's arguments, environment and working directory. Leaves: output and an exit code.
//! Absent on purpose: any work of its own; each command is a call into the module that does it.

pub mod args;
mod fixture;
mod fixture_hook;
mod list;
mod lsp_setup;
mod run;
pub mod settings;

use std::io::{IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{CommandFactory, Parser};
use tracing_subscriber::EnvFilter;

use crate::config::{Config, ConfigError, Environment, nearest};
use crate::discover::{self, DiscoverError, TestFile};
use crate::{doctor, emulated};
use args::{ChooseArgs, Cli, Command};

/// Exit code when the harness could not do its work.
pub const EXIT_HARNESS: u8 = 2;

/// Runs the command of this process's arguments.
pub fn main() -> ExitCode {
    log_to_stderr();
    let cli = Cli::parse(); // usage errors and --help end here, with 2 and 0
    let done = match cli.command {
        None => run::run(cli.run),
        Some(Command::List(args)) => list::list(&args),
        Some(Command::Fixture(args)) => fixture::fixture(&args, &fixture_hook::build_fixture),
        Some(Command::Doctor(args)) => Ok(exit_code(doctor::run(&args))),
        Some(Command::Host(args)) => Ok(exit_code(emulated::run_host(&args))),
        Some(Command::EmulatedHostInit(args)) => Ok(exit_code(emulated::run_init(&args))),
        Some(Command::LspSetup(args)) => lsp_setup::lsp_setup(&args),
        Some(Command::Completions { shell }) => completions(shell),
    };
    match done {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            eprintln!("provium: error: {error:#}");
            ExitCode::from(EXIT_HARNESS)
        }
    }
}

/// A command's exit code as this process's; what does not fit is a failure of the harness.
fn exit_code(code: i32) -> u8 {
    u8::try_from(code).unwrap_or(EXIT_HARNESS)
}

/// `PROVIUM_LOG=debug`, or `PROVIUM_LOG=provium_vmm=trace`, shows what happens inside.
fn log_to_stderr() {
    let filter = EnvFilter::builder().with_env_var("PROVIUM_LOG").from_env_lossy();
    if std::env::var_os("PROVIUM_LOG").is_some() {
        let color = std::io::stderr().is_terminal()
            && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        let format = tracing_subscriber::fmt()
            .with_ansi(color)
            .with_writer(std::io::stderr);
        let _ = format.with_env_filter(filter).try_init();
    }
}

fn completions(shell: clap_complete::Shell) -> anyhow::Result<u8> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "provium", &mut script);
    std::io::stdout().write_all(&script)?;
    Ok(0)
}

/// The configuration and where the command was called.
struct Project {
    cwd: PathBuf,
    config: Config,
}

impl Project {
    fn load(choose: &ChooseArgs) -> anyhow::Result<Project> {
        let cwd = std::env::current_dir()
            .map_err(|error| anyhow::anyhow!("the current folder cannot be used: {error}"))?;
        let environment = Environment::of_process();
        let config = Config::load(choose.config.as_deref(), &cwd, &choose.paths, &environment);
        let config = config.map_err(|error: ConfigError| anyhow::anyhow!(error))?;
        tracing::debug!(file = ?config.file, profiles = config.profiles.len(), "configuration");
        Ok(Project { cwd, config })
    }

    /// The test files that the paths, or else the roots, hold.
    fn files(&self, choose: &ChooseArgs) -> anyhow::Result<Vec<TestFile>> {
        let paths = if choose.paths.is_empty() {
            &self.config.roots
        } else {
            &choose.paths
        };
        discover::discover(paths, &self.cwd).map_err(|error| match error {
            // `provium doctr` is no path but a mistyped command.
            DiscoverError::Missing(path) => match nearest_command(&path) {
                Some(command) => {
                    anyhow::anyhow!("no such file or folder: {path}; did you mean `provium {command}`?")
                }
                None => anyhow::anyhow!("no such file or folder: {path}"),
            },
            other => anyhow::anyhow!(other),
        })
    }
}

fn nearest_command(word: &str) -> Option<String> {
    let cli = Cli::command();
    let names = cli
        .get_subcommands()
        .filter(|command| !command.is_hide_set())
        .map(clap::Command::get_name);
    nearest(word, names).map(str::to_owned)
}
