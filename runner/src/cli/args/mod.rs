//! The command line as it is written.
//!
//! Input: the process's arguments. Output: [`Cli`], checked only for form; all that clap knows is here. Not
//! here: defaults that depend on the machine, the terminal or the configuration; `settings` decides those.

mod bisect;
mod choose;
mod fixture;
mod guest;
mod guest_run;
mod host;
mod matrix;
mod reports;
mod running;
mod show;
#[cfg(test)]
mod tests;
mod values;

use std::path::PathBuf;

use clap::error::{ContextKind, ErrorKind};
use clap::{Args, Parser, Subcommand, ValueHint};

pub use bisect::{BisectArgs, BisectCommand, BootFailure, DriverArgs, StepArgs};
pub use choose::{ChooseArgs, OrderArgs, ProjectArgs, SelectArgs};
pub use fixture::{BuildArgs, FixtureArgs, FixtureCommand, LookArgs, Which};
pub use guest::{FetchArgs, GuestArgs, GuestCommand, InitProjectArgs};
pub use guest_run::{GuestRunArgs, ShareArg};
pub use host::{DoctorArgs, HostArgs, InitArgs};
pub use matrix::Matrix;
pub use reports::{CoverageArgs, ReportArgs};
pub use running::RunningArgs;
pub use show::{ColorChoice, ProgressChoice, ShowArgs};
pub use values::Seed;

/// Tests software that needs a real kernel: Lua tests that boot microVMs.
///
/// Runs every *.test.lua below PATHS: by default below the roots of provium.toml, or else below the current
/// folder.
#[derive(Debug, Parser)]
#[command(
    name = "provium",
    version,
    args_conflicts_with_subcommands = true,
    subcommand_help_heading = "Commands"
)]
#[command(after_help = "\
Examples:
  provium                                  every test of the project
  provium tests/net.test.lua -k \"not ipv6\"  tests of a file, by words of their names
  provium --tag smoke --fail-fast -v       tests with a tag, up to the first failure
  provium --junit target/junit.xml         with a report for CI
  provium init first                       a new project with a first test
  provium fixture build && provium -j 8    build what is missing, then run
  provium run -k . -- uname -a             one command on the kernel of this build tree
  provium doctor                           what this host can do

Exit codes: 0 all passed or skipped, 1 a test failed or timed out, 2 the run could not be carried out, 130 interrupted.")]
pub struct Cli {
    /// Something other than running tests.
    #[command(subcommand)]
    pub command: Option<Command>,
    /// Running tests.
    #[command(flatten)]
    pub run: RunArgs,
}

/// The subcommands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Boot a guest and run one command in it, or a shell
    Run(GuestRunArgs),
    /// Find the commit that broke a test
    ///
    /// Builds and tests commits between GOOD and BAD in a worktree of its own. TESTS are what `provium`
    /// itself takes: paths and flags. An interrupted bisect goes on where it was when it is started again.
    Bisect(BisectArgs),
    /// List the tests that would run, without booting anything
    List(ListArgs),
    /// Look after the cache of fixtures
    Fixture(FixtureArgs),
    /// Make a project: provium.toml, a first test, .gitignore, what an editor needs
    ///
    /// Looks for a kernel, and asks on a terminal if there are several. Files that are there stay as they
    /// are.
    Init(InitProjectArgs),
    /// Make ready guests that any project can name
    Guest(GuestArgs),
    /// Say what this host can do: KVM, the emulated host, cores, memory
    Doctor(DoctorArgs),
    /// Run a command on an emulated host, which has a sound KVM
    Host(HostArgs),
    /// The first process of an emulated host
    #[command(hide = true)]
    EmulatedHostInit(InitArgs),
    /// Say which ids of a specification the tests of a run covered
    Coverage(CoverageArgs),
    /// Teach an editor with LuaLS the API: writes stubs and a .luarc.json
    LspSetup(LspSetupArgs),
    /// Print the manual page, or write one for each command into a folder
    Man(ManArgs),
    /// Print a shell's completion script
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
}

/// What `provium` itself takes: a structure for each group of its help.
#[derive(Debug, Args)]
pub struct RunArgs {
    /// Which files.
    #[command(flatten)]
    pub choose: ChooseArgs,
    /// Which tests of them.
    #[command(flatten)]
    pub select: SelectArgs,
    /// In which order.
    #[command(flatten)]
    pub order: OrderArgs,
    /// How to run them.
    #[command(flatten)]
    pub running: RunningArgs,
    /// What one sees of it.
    #[command(flatten)]
    pub show: ShowArgs,
    /// What machines read of it.
    #[command(flatten)]
    pub reports: ReportArgs,
}

/// What `provium list` takes.
#[derive(Debug, Args)]
pub struct ListArgs {
    /// Which files.
    #[command(flatten)]
    pub choose: ChooseArgs,
    /// Which tests of them.
    #[command(flatten)]
    pub select: SelectArgs,
    /// List the fixtures instead: their names and their sources, those below PATHS
    #[arg(long, help_heading = "Show")]
    pub fixtures: bool,
    /// Print a JSON object for each file, or for each fixture
    #[arg(long, help_heading = "Show")]
    pub json: bool,
}

/// What `provium lsp-setup` takes.
#[derive(Debug, Args)]
pub struct LspSetupArgs {
    /// Folder to write to, the one that is opened in the editor [default: that of provium.toml]
    #[arg(value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub dir: Option<PathBuf>,
    /// Replace files that are there and different
    #[arg(long)]
    pub force: bool,
}

/// What `provium man` takes.
#[derive(Debug, Args)]
pub struct ManArgs {
    /// Folder to write a page for each command to, such as ~/.local/share/man/man1
    #[arg(value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub dir: Option<PathBuf>,
}

/// A usage error without the advice to write a flag that is not there behind `--`, as if it were a path.
pub(super) fn helpful(mut error: clap::Error) -> clap::Error {
    if error.kind() == ErrorKind::UnknownArgument {
        error.remove(ContextKind::Suggested);
    }
    error
}
