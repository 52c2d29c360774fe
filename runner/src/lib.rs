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
mod scan;
pub mod session;
pub mod stock;
mod tokens;
pub mod uses;
