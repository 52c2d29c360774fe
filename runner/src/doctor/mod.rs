//! `provium doctor`, and the choice of where tests run that it explains.
//!
//! Input: this host. Output: a [`Way`] to run guests, or why there is none; one screen that says so. Not
//! here: changing anything, downloading anything.
//!
//! ```text
//! choose       --accel and what the host can do → where to run
//! facts        what the host can do
//! screen       the facts as people read them; facts themselves are the JSON
//! ```

mod choose;
mod facts;
mod screen;

use provium_base::exit;

pub use choose::{Accel, NoWay, Way, choose};
pub use facts::{EmulatedFacts, Facts, Group, KernelFacts, KvmFacts, Machine, facts};

/// `provium doctor`, as one JSON object or as text; [`exit::SUCCESS`] when tests can run here in some way,
/// else [`exit::HARNESS`].
pub fn run(json: bool) -> u8 {
    let facts = facts();
    if json {
        match serde_json::to_string_pretty(&facts) {
            Ok(json) => anstream::println!("{json}"),
            Err(error) => {
                anstream::eprintln!("provium: {error}");
                return exit::HARNESS;
            }
        }
    } else {
        anstream::print!("{}", screen::screen(&facts));
    }
    match facts.accel_auto {
        Some(_) => exit::SUCCESS,
        None => exit::HARNESS,
    }
}
