//! Programs of the guest: `run`, `run_async`, their output and their ends.
//!
//! Input: commands. Output: the userdata `RunResult` and `Process`. Not here: how a command reaches the
//! agent.

mod budget;
mod capture;
mod captured;
pub(crate) mod command;
pub(crate) mod handle;
pub(crate) mod methods;
pub(crate) mod run;
pub(crate) mod run_result;
