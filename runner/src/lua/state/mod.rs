//! The Lua state of a file, and the scopes that close what is made in it.
//!
//! Input: the script that is to run; things that must not outlive it. Output: a state with the standard
//! libraries; the end of each thing. Not here: what a test is, and what is made.

pub(crate) mod create;
pub(crate) mod guards;
pub(crate) mod scope;
pub(crate) mod splats;
