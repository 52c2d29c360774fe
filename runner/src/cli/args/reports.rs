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
    /// Add the run's events to a file, as frames of MessagePack
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub save_events: Option<PathBuf>,
    /// Write the run's events to stdout; the report goes to stderr
    #[arg(long, conflicts_with_all = ["json", "tap", "ktap"])]
    pub events_stdout: bool,
    /// Serve the run's events at this Unix socket
    #[arg(long, value_name = "PATH", value_hint = ValueHint::FilePath)]
    pub events_socket: Option<PathBuf>,
    /// Print at the end which values of `spec` in the tests' metadata were tested
    #[arg(long)]
    pub coverage: bool,
}

impl ReportArgs {
    /// Whether other programs follow the run.
    pub fn is_followed(&self) -> bool {
        self.save_events.is_some() || self.events_stdout || self.events_socket.is_some()
    }
}

/// What `provium coverage` takes.
#[derive(Debug, Args)]
pub struct CoverageArgs {
    /// Events of a run, as --save-events writes them; - for standard input
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub from: PathBuf,
    /// The key of the tests' metadata to go by
    #[arg(long, value_name = "KEY", default_value = "spec")]
    pub by: String,
    /// A list of all ids, one a line; those that no test ran for are shown
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub expect: Option<PathBuf>,
    /// Print one JSON object
    #[arg(long, conflicts_with = "html")]
    pub json: bool,
    /// Write a page for a browser
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub html: Option<PathBuf>,
}
