//! Test files: registering tests, running them, deciding what they came to.
//!
//! Input: a file's source and its Lua state. Output: its results. Not here: guests and labs; whoever runs a
//! file passes what has to be done with those as functions.

pub(crate) mod artifact;
pub(crate) mod assertions;
pub(crate) mod caught;
pub(crate) mod chunk;
mod cleanup;
pub(crate) mod evidence;
pub(crate) mod expect_splat;
mod expected;
pub(crate) mod file;
pub(crate) mod globals;
pub(crate) mod hooks;
pub(crate) mod host_command;
pub(crate) mod host_file;
pub(crate) mod kept;
pub(crate) mod ktap;
pub(crate) mod listing;
pub(crate) mod load;
pub(crate) mod metadata;
pub(crate) mod modules;
pub(crate) mod parallel;
mod parts;
mod raises;
pub(crate) mod register;
pub(crate) mod rounds;
pub(crate) mod run;
pub(crate) mod runner;
pub(crate) mod splats;
pub(crate) mod subtest;
pub(crate) mod t;
pub(crate) mod verdict;
pub(crate) mod wait;
