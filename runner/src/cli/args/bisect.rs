//! Arguments of `provium bisect`.
//!
//! Input: the process's arguments. Output: [`BisectArgs`]. Not here: what becomes of them (`cli::bisect`).

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum, ValueHint};

/// What `provium bisect` takes.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
#[command(after_help = "\
Examples:
  provium bisect --good v6.11 --bad v6.12 -- tests/net.test.lua
  provium bisect --tree ~/linux --good v6.11 --bad HEAD --confidence 0.99 -- tests/race.test.lua
  provium bisect --images ~/kernels -- tests/net.test.lua
  git bisect run provium bisect step -- tests/net.test.lua

Exit codes: 0 the commit was found, 1 it could not be told, 2 the bisect could not be carried out, 130 interrupted.")]
pub struct BisectArgs {
    /// One verdict alone.
    #[command(subcommand)]
    pub command: Option<BisectCommand>,
    /// A whole bisect.
    #[command(flatten)]
    pub driver: DriverArgs,
}

/// Parts of a bisect.
#[derive(Debug, Subcommand)]
pub enum BisectCommand {
    /// Build and test what is checked out, for `git bisect run`
    ///
    /// Exit codes: 0 the tests pass, 1 one fails, 125 it cannot be told (`build` fails, nothing ran), 128
    /// the harness could not do its work, which ends `git bisect run`, 130 interrupted.
    Step(StepArgs),
}

/// What a verdict on one commit takes.
#[derive(Debug, Args)]
pub struct StepArgs {
    /// What it means that a guest does not boot
    #[arg(long, value_name = "VERDICT", default_value = "bad")]
    pub boot_failure: BootFailure,
    /// What to run, as `provium` itself takes it: paths and flags
    #[arg(value_name = "TESTS", last = true)]
    pub tests: Vec<OsString>,
}

/// What a whole bisect takes.
#[derive(Debug, Args)]
pub struct DriverArgs {
    /// A commit that is known to be good; more can be given
    #[arg(long, value_name = "REV", required_unless_present = "images")]
    pub good: Vec<String>,
    /// A commit that is known to be bad
    #[arg(long, value_name = "REV", required_unless_present = "images")]
    pub bad: Option<String>,
    /// Bisect the kernels of a folder, in the order of their names, in place of commits; --good and --bad
    /// are names there [default: the first and the last]
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath, conflicts_with_all = ["tree", "first_parent", "confidence"])]
    pub images: Option<PathBuf>,
    /// The repository with the sources [default: that of the profile's `tree`]
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub tree: Option<PathBuf>,
    /// At a merge, follow the first parent alone
    #[arg(long)]
    pub first_parent: bool,
    /// Call a commit good only when the tests passed in N rounds
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub repeat: Option<u32>,
    /// Repeat as often as it takes to be right with this probability, such as 0.99, by how often the tests
    /// fail on the bad commit in --repeat rounds [default for those: 100]
    #[arg(long, value_name = "P", value_parser = probability)]
    pub confidence: Option<f64>,
    /// Forget what an earlier bisect has found out
    #[arg(long)]
    pub fresh: bool,
    /// How each commit is judged.
    #[command(flatten)]
    pub step: StepArgs,
}

/// What a guest that does not boot says of its commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum BootFailure {
    /// It is bad.
    Bad,
    /// Nothing.
    Skip,
}

fn probability(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(p) if (0.5..1.0).contains(&p) => Ok(p),
        _ => Err("expected a number from 0.5 to below 1, such as 0.99".to_owned()),
    }
}
