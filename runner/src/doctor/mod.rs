//! `provium doctor`, and the choice of where tests run that it explains.
//!
//! Enters: this host. Leaves: a [`Way`] to run guests, or why there is none; one screen that says so. Absent on
//! purpose: changing anything, downloading anything.
//!
//! ```text
//! choose       --accel and what the host can do → where to run
//! facts        what the host can do
//! screen       the facts as people read them; facts themselves are the JSON
//! ```

mod choose;
mod facts;
mod screen;

use clap::Args;

pub use choose::{Accel, NoWay, Way, choose};
pub use facts::{EmulatedFacts, Facts, Group, KernelFacts, KvmFacts, Machine, facts};

/// Says what this host can do: KVM, and if that is not sound why not, the emulated host, cores, memory.
///
/// Exit code 0 when tests can run here in some way, 2 otherwise.
#[derive(Debug, Clone, Default, PartialEq, Eq, Args)]
pub struct DoctorArgs {
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
}

/// `provium doctor`: its exit code.
pub fn run(args: &DoctorArgs) -> i32 {
    let facts = facts();
    if args.json {
        match serde_json::to_string_pretty(&facts) {
            Ok(json) => anstream::println!("{json}"),
            Err(error) => {
                anstream::eprintln!("provium: {error}");
                return 2;
            }
        }
    } else {
        anstream::print!("{}", screen::screen(&facts));
    }
    if facts.accel_auto.is_some() { 0 } else { 2 }
}
