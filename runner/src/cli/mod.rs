//! The `provium` command: from arguments to an exit code.
//!
//! Input: the process's arguments, environment and working directory. Output: text and an exit code. Not
//! here: any work of its own; each command is a file with a call into the module that does it.

mod again;
pub mod args;
mod bisect;
mod chosen;
mod completions;
mod coverage;
mod defaults;
mod doctor;
mod fixture;
mod guest;
mod guest_run;
mod host;
mod init;
mod interrupt;
mod list;
mod lsp_setup;
mod man;
mod matrix;
mod print;
mod project;
mod relay;
mod reports;
mod run;
mod screen;
pub mod settings;
mod since;
mod stderr;
mod supervise;
mod watch;

use std::io::IsTerminal;
use std::process::ExitCode;

use clap::Parser;
use provium_base::{cause, exit};
use tracing_subscriber::EnvFilter;

use args::{Cli, Command};

/// Runs the command of this process's arguments.
pub fn main() -> ExitCode {
    if completions::answer() {
        return ExitCode::SUCCESS;
    }
    log_to_stderr();
    // Usage errors and --help end here, with 2 and 0.
    let cli = Cli::try_parse().unwrap_or_else(|error| args::helpful(error).exit());
    let done = match cli.command {
        None => run::run(cli.run),
        Some(Command::Bisect(args)) => Ok(bisect::bisect(args)),
        Some(Command::Run(args)) => guest_run::run(&args),
        Some(Command::List(args)) => list::list(&args),
        Some(Command::Fixture(args)) => fixture::fixture(&args),
        Some(Command::Init(args)) => init::init(&args),
        Some(Command::Guest(args)) => guest::guest(&args),
        Some(Command::Doctor(args)) => doctor::doctor(&args),
        Some(Command::Host(args)) => host::host(args),
        Some(Command::EmulatedHostInit(_)) => Ok(provium_emulated::init()),
        Some(Command::Coverage(args)) => coverage::coverage(&args),
        Some(Command::LspSetup(args)) => lsp_setup::lsp_setup(&args),
        Some(Command::Man(args)) => man::man(&args),
        Some(Command::Completions { shell }) => completions::completions(shell),
    };
    match done {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            print::complain(&format!("provium: error: {}", cause::once(error.as_ref())));
            ExitCode::from(exit::HARNESS)
        }
    }
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
