//! Test files: the Lua they are written in and the API they see.
//!
//! Enters: a [`FileJob`](crate::run::job::FileJob). Leaves: a [`FileResult`](crate::outcome::FileResult). One Lua
//! state runs one file on one thread. Absent on purpose: mlua outside this folder, and anything about guests that
//! would be true without Lua; that is in `guest`.
//!
//! One file for each userdata (`lab`, `vm`, `console`, `run_result`, `test_run`), each a table of methods that
//! `binding` registers and `kinds` lists; `globals` is the same for functions. `call` and `options` look at arguments,
//! `location` finds the test's own line, `scope` ends what a test made, `interrupt` ends the test.

mod agent;
mod assertions;
mod barrier;
mod baseline;
mod batch;
mod binding;
mod boot_options;
mod call;
mod capture;
mod claim;
mod classic;
mod clock;
mod command;
mod console;
mod console_talk;
mod disk;
mod dmesg;
mod equal;
mod file;
mod files;
mod fixture;
mod globals;
mod inject;
mod interrupt;
mod ioctl;
mod json;
mod kinds;
mod lab;
mod location;
mod membership;
mod metadata;
mod open_file;
mod options;
mod process;
mod remote;
mod render;
mod run_result;
mod runner;
mod scope;
mod signal;
mod snapshot;
mod state;
mod stream;
mod stubs;
mod syscall;
mod syscall_handle;
mod tail;
mod test_run;
#[cfg(test)]
mod tests;
mod vm;
mod wait;
mod worker;

pub use fixture::build as build_fixture;
pub use runner::run_file;
pub use stubs::stubs;
