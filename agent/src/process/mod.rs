//! Programs: how they are started, and what goes between them and the host.
//!
//! ```text
//! Exec  ─ command ─ spawn ─ pump ─ the session itself              ops/exec.rs
//! Start ─ command ─ spawn ─ pump ─ Program: input, output buffers  program.rs, input.rs, output.rs
//! Attach ── launch, pty ──┘                                        ops/attach.rs
//!                            └── child: signals, time limits, the end; group: what the child leaves behind
//! ```
//!
//! One pump serves all: for `Exec` it runs on the session's thread and passes output on, for `Start` and
//! `Attach` on a thread of the program's own and buffers it; `Attach` sends it on from there as it comes.
//!
//! Input: what to run.
//! Output: output, and how it ended.
//! Not here: users and limits; a program that needs those is run by one that makes them.

pub(crate) mod attached;
pub(crate) mod child;
pub(crate) mod command;
mod group;
pub(crate) mod input;
pub(crate) mod launch;
pub(crate) mod output;
pub(crate) mod program;
mod pty;
pub(crate) mod pump;
mod spawn;
pub(crate) mod table;
