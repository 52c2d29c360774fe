//! Test files: the Lua they are written in and the API they see.
//!
//! Input: a [`FileJob`](crate::run::job::FileJob). Output: a [`FileResult`](crate::outcome::FileResult). One Lua state runs
//! one file on one thread. Not here: mlua outside this folder, and anything about guests that would be true without Lua;
//! that is in `guest`.
//!
//! The folder stands on floors, and each uses those below it alone: `kinds` and `stubs` on top, then `classic`, `objects`,
//! `test`, `state`, `api`.

mod api;
mod classic;
mod kinds;
mod objects;
mod state;
mod stubs;
mod test;
#[cfg(test)]
mod tests;

pub use stubs::stubs;
pub use test::fixture::build as build_fixture;
pub use test::runner::run_file;
