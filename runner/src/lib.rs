//! The `provium` command as a library.
//!
//! Input: a command line, a configuration, test files. Output: a report and an exit code. The way through:
//! `cli` resolves what was asked, `discover` finds the files, `session` gives each to `lua` on a thread of
//! its own, `report` shows what comes of it. Not here: KVM, which is all in `provium-vmm`.

pub mod cli;
pub mod config;
pub mod discover;
pub mod doctor;
pub mod lua;
pub mod report;
#[cfg(test)]
mod samples;
pub mod session;
pub mod stock;

pub use provium_base::{cancel, units};
pub use provium_cache as fixture;

/// Archives for a guest's initramfs, and the agent's own.
pub mod agent_archive {
    pub use provium_base::initramfs::*;
    pub use provium_guest::{AGENT_PATH, agent_archive};
}

/// Guests, and the fixtures they come from.
pub mod guest {
    pub use crate::stock::*;
    pub use provium_guest::*;
    #[cfg(test)]
    pub(crate) mod tests {
        pub(crate) use provium_guest::local_agent::LocalAgent;
    }
}
