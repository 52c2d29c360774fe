//! Test files: the Lua they are written in and the API they see.
//!
//! Input: a [`FileJob`](crate::session::job::FileJob). Output: a
//! [`FileResult`](provium_base::outcome::FileResult). One Lua state runs one file on one thread. Not here:
//! mlua outside this folder, and anything about guests that would be true without Lua; that is in `guest`.
//!
//! The folder stands on floors, from the ground up, and each uses those below it alone:
//!
//! - `api`: how Rust becomes Lua; knows no test and no guest;
//! - `state`: the Lua state of a file, and the scopes that close what is made in it;
//! - `test`: test files, tests, assertions; knows no lab;
//! - `objects`: the userdata of the API;
//! - `classic`: the dialect of earlier test suites;
//! - `tables`, `kinds`, `stubs`, `start`: the method tables put together, listed and written out, and the
//!   ways in.

mod api;
mod classic;
mod kinds;
mod objects;
mod start;
mod state;
mod stubs;
mod tables;
mod test;
#[cfg(test)]
mod tests;

pub use start::{builder, list_file, run_file};
pub use stubs::stubs;
