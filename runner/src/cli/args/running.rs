//! Help group "Run": how tests are run.
//!
//! Input: the process's arguments. Output: [`RunningArgs`]. Not here: what they come to on this machine;
//! `settings` decides that.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueHint};
use provium_base::units;

use super::matrix::Matrix;
use super::values::{at_least_one, overcommit};
use crate::doctor::Accel;

/// How to run.
#[derive(Debug, Args)]
#[command(next_help_heading = "Run")]
pub struct RunningArgs {
    /// Files to run at a time [default: the number of processors]
    #[arg(short, long, value_name = "N", value_parser = at_least_one)]
    pub jobs: Option<usize>,
    /// Memory that all VMs share, such as 8G [default: 80 % of this host's]
    #[arg(long, value_name = "SIZE", value_parser = units::parse_size)]
    pub mem: Option<u64>,
    /// Processors that all VMs share [default: the number of processors]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=65536))]
    pub cpus: Option<u32>,
    /// Virtual processors to give to VMs for each of those, from 0.5 to 8
    #[arg(long, value_name = "F", default_value = "2", value_parser = overcommit)]
    pub cpu_overcommit: f64,
    /// Time limit of a file, such as 90s or 5m, times --repeat; 0 for none [default: 300s]
    #[arg(long, value_name = "DURATION", value_parser = units::parse_duration)]
    pub timeout: Option<Duration>,
    /// Machines kept ready for the next fixture; 0 to make each when it is needed
    #[arg(long, value_name = "N", default_value_t = 4)]
    pub ready: usize,
    /// Take what profiles boot as it is: run no `build`
    #[arg(long)]
    pub no_build: bool,
    /// Let files pass that have no test
    #[arg(long)]
    pub allow_empty: bool,
    /// A list of tests that are expected to fail: path::test a line, two blanks, a reason
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub known_failures: Option<PathBuf>,
    /// End the run at the first failed test
    #[arg(long, conflicts_with = "maxfail")]
    pub fail_fast: bool,
    /// End the run at the Nth failed test
    #[arg(long, value_name = "N", value_parser = at_least_one)]
    pub maxfail: Option<usize>,
    /// Run a failed test again, up to N times; one that says `retries` itself knows better
    #[arg(long, value_name = "N")]
    pub retries: Option<u32>,
    /// Run the tests in N rounds, each with guests as the file's own code left them
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub repeat: Option<u32>,
    /// Run the tests in rounds until one fails: without end, or --repeat rounds at most
    #[arg(long)]
    pub until_fail: bool,
    /// Run again what a change touches, until q or Ctrl-C
    #[arg(long)]
    pub watch: bool,
    /// Run on each of these kernels, in place of all profiles' own, and say where tests differ
    #[arg(long, value_name = "kernel=FILE,FILE", conflicts_with = "watch")]
    pub matrix: Option<Matrix>,
    /// Where guests run
    #[arg(long, value_name = "HOW", default_value = "auto")]
    pub accel: Accel,
    /// Keep the results of an interrupted run here
    #[arg(long, value_name = "FILE", hide = true)]
    pub journal: Option<PathBuf>,
}
