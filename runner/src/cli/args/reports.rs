//! Help group "Reports": what machines read of a run.
//!
//! Input: the process's arguments. Output: [`ReportArgs`]. Not here: `--json`, which is among what one sees;
//! and what the reports say.

use std::path::PathBuf;

use clap::{Args, ValueHint};

/// What to write for machines.
#[derive(Debug, Args)]
#[command(next_help_heading = "Reports")]
pub struct ReportArgs {
    /// Write a JUnit XML file, as CI systems read it
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub junit: Option<PathBuf>,
    /// Print TAP instead of the report: a point for each test
    #[arg(long, conflicts_with = "json")]
    pub tap: bool,
    /// Print KTAP instead of the report, as the kernel's own tests do
    #[arg(long, conflicts_with_all = ["json", "tap"])]
    pub ktap: bool,
}
