//! The Lua state of a file, and the scopes that close what is made in it.
//!
//! Input: the file that is to run. Output: a state with the standard libraries. Not here: what is made.

pub(crate) mod create;
pub(crate) mod scope;
