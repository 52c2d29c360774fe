//! A program that is about to have a session's connection.
//!
//! Input: a started program.
//! Output: what the session needs once its reply is sent.
//! Not here: the carrying itself; see `ops/attach.rs`.

use std::sync::Arc;

use super::program::{Program, ProgramWatch};

/// A started program, by its handle, and a wake-up at its changes.
pub(crate) struct Attached {
    pub(crate) handle: u64,
    pub(crate) program: Arc<Program>,
    pub(crate) watch: ProgramWatch,
}
