//! What the host can ask for, a file for each kind of request.
//!
//! Input: a request and the session it came by, for bodies and output.
//! Output: a response or a [`crate::failure::Failure`].
//! Not here: replies, and which request leads to which op; see `serve`.

pub(crate) mod attach;
pub(crate) mod attributes;
pub(crate) mod exec;
pub(crate) mod files;
pub(crate) mod folders;
pub(crate) mod links;
pub(crate) mod read_file;
pub(crate) mod resumed;
pub(crate) mod started;
pub(crate) mod stat;
pub(crate) mod syscall;
pub(crate) mod write_file;
