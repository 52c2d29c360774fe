//! Arguments of `provium fixture`.
//!
//! Input: the process's arguments. Output: [`FixtureArgs`]. Not here: what becomes of them (`cli::fixture`).

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueHint};

use super::ProjectArgs;
use crate::doctor::Accel;

/// What `provium fixture` takes.
#[derive(Debug, Args)]
pub struct FixtureArgs {
    /// What to do.
    #[command(subcommand)]
    pub command: FixtureCommand,
}

/// What to do with fixtures.
#[derive(Debug, Subcommand)]
pub enum FixtureCommand {
    /// List the fixtures: cached, stale or not built, with their sizes
    List {
        /// Which.
        #[command(flatten)]
        look: LookArgs,
        /// Print a JSON object
        #[arg(long)]
        json: bool,
    },
    /// Build the fixtures that are not cached
    Build(BuildArgs),
    /// Build fixtures anew, and at their next use those that start from them
    Rebuild(BuildArgs),
    /// Remove fixtures from the cache: one, those of a folder, or all it holds
    Clean(Which),
    /// List the fixtures that will be built at their next use, and why
    Stale(LookArgs),
    /// Say what changed since a fixture was built
    Why(LookArgs),
}

/// Which fixtures.
#[derive(Debug, Args)]
pub struct Which {
    /// A fixture's name or source, or a folder with fixtures [default: all]
    #[arg(value_name = "PATH|NAME", value_hint = ValueHint::AnyPath)]
    pub target: Option<String>,
    /// Of which project.
    #[command(flatten)]
    pub project: ProjectArgs,
    /// What the emulated host gives to every command; there is nothing to keep in it
    #[arg(long, value_name = "FILE", hide = true)]
    pub journal: Option<PathBuf>,
}

/// What looking at fixtures' states takes.
#[derive(Debug, Args)]
pub struct LookArgs {
    /// Which.
    #[command(flatten)]
    pub which: Which,
    /// Where guests run: the processor there is part of every fixture's key
    #[arg(long, value_name = "HOW", default_value = "auto")]
    pub accel: Accel,
}

/// What building takes.
#[derive(Debug, Args)]
pub struct BuildArgs {
    /// Which.
    #[command(flatten)]
    pub which: Which,
    /// Where guests run
    #[arg(long, value_name = "HOW", default_value = "auto")]
    pub accel: Accel,
    /// Show the output of profiles' `build` commands
    #[arg(short, long)]
    pub verbose: bool,
}
