//! The `provium` command as a library.
//!
//! Enters: a command line, a configuration, test files. Leaves: a report and an exit code. The way through:
//! `cli` resolves what was asked, `discover` finds the files, `run` gives each to `lua` on a thread of its own,
//! `report` shows what comes of it. Absent on purpose: KVM, which is all in `provium-vmm`.

pub mod agent_archive;
pub mod cancel;
pub mod cli;
pub mod config;
pub mod discover;
pub mod doctor;
pub mod emulated;
pub mod fixture;
pub mod guest;
pub mod lua;
pub mod outcome;
pub mod report;
pub mod rootfs;
pub mod run;
pub mod units;
