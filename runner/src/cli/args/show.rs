//! Help group "Show": what one sees of a run, and what is kept of it.
//!
//! Input: the process's arguments. Output: [`ShowArgs`]. Not here: what they come to on this terminal;
//! `settings` decides that.

use std::path::PathBuf;

use clap::{Args, ValueEnum, ValueHint};

use super::values::at_least_one;

/// How to show it.
#[derive(Debug, Args)]
#[command(next_help_heading = "Show")]
pub struct ShowArgs {
    /// Where all that is left of failed tests is kept; emptied by the next run [default: target/provium where
    /// there is a target of Cargo's, else .provium/last, beside provium.toml]
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub artifacts: Option<PathBuf>,
    /// Show every test with its duration and log
    #[arg(short, long, conflicts_with = "quiet")]
    pub verbose: bool,
    /// Show only failures and the last line
    #[arg(short, long)]
    pub quiet: bool,
    /// Name the N slowest tests at the end
    #[arg(long, value_name = "N", value_parser = at_least_one)]
    pub durations: Option<usize>,
    /// Print one JSON object per file
    #[arg(long)]
    pub json: bool,
    /// Colours; auto means on a terminal, unless NO_COLOR is set
    #[arg(long, value_name = "WHEN", default_value = "auto")]
    pub color: ColorChoice,
    /// What is running: a live view (bar), lines (plain) or nothing; auto means bar on a terminal
    #[arg(long, value_name = "HOW", default_value = "auto")]
    pub progress: ProgressChoice,
}

/// When to use colours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ColorChoice {
    /// On a terminal, unless `NO_COLOR` is set.
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// How to show what is running.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ProgressChoice {
    /// A live view on a terminal, nothing elsewhere.
    Auto,
    /// A live view.
    Bar,
    /// Lines.
    Plain,
    /// Nothing.
    None,
}
