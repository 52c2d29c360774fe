//! Arguments of the commands that make a project and its guests: `provium init`, `provium guest`.
//!
//! Input: the process's arguments. Output: [`InitProjectArgs`], [`GuestArgs`]. Not here: what becomes of
//! them.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueHint};

/// What `provium init` takes.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct InitProjectArgs {
    /// Folder of the project, made if it is not there [default: the current one]
    #[arg(value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub dir: Option<PathBuf>,
    /// The kernel to boot, or guest:debian, and no question
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub kernel: Option<PathBuf>,
}

/// What `provium guest` takes.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct GuestArgs {
    /// What to do.
    #[command(subcommand)]
    pub command: GuestCommand,
}

/// What `provium guest` does.
#[derive(Debug, Clone, PartialEq, Eq, Subcommand)]
pub enum GuestCommand {
    /// Make guest:debian, or make it current, from Debian's packages; nothing is installed
    Fetch(FetchArgs),
}

/// What `provium guest fetch` takes.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct FetchArgs {
    /// Make a Debian userland too, for `rootfs`; needs root and debootstrap
    #[arg(long)]
    pub userland: bool,
}
