//! Test files: registering tests, running them, deciding what they came to.
//!
//! Input: a file's source. Output: its results. Not here: guests and labs.

pub(crate) mod assertions;
pub(crate) mod file;
pub(crate) mod fixture;
pub(crate) mod globals;
pub(crate) mod metadata;
pub(crate) mod runner;
pub(crate) mod test_run;
pub(crate) mod wait;
