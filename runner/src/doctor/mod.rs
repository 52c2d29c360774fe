//! `provium doctor`, and the choice of where tests run that it explains.
//!
//! Input: this host, or a kernel. Output: a [`Way`] to run guests, or why there is none; one screen that says
//! so. Not here: changing anything, downloading anything.
//!
//! ```text
//! choose       --accel and what the host can do → where to run
//! facts        what the host can do
//! screen       the facts as people read them; facts themselves are the JSON
//! kernel       what a kernel has of what guests need
//! ```

mod choose;
mod facts;
pub mod kernel;
mod screen;

pub use choose::{Accel, NoWay, Way, choose};
pub use facts::{EmulatedFacts, Facts, Group, KernelFacts, KvmFacts, Machine, facts};
pub use screen::screen;
