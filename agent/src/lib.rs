//! The guest's side of Provium: takes requests from the host and does them.
//!
//! Enters: the role of PID 1 ([`init`]) and vsock connections to the host ([`daemon`]). Leaves: replies.
//!
//! ```text
//! kernel → init → fork ─┬─ PID 1: the initrd's own /init, or the reaper
//!                       └─ daemon ─┬─ main session: connected to the host, reconnects for ever
//!                                  ├─ keeper: accepts sessions, empties left-over pipes, ends the machine
//!                                  └─ further sessions, a thread each
//! session → ops/… → reply
//! ```
//!
//! Absent on purpose: an async runtime, configuration, and any state that outlives a session but the keeper's and
//! the connections that wait for a worker.
//! A session needs nothing but a connected socket, so that all of it can be tested on the host.

pub mod daemon;
pub mod init;
pub mod keeper;
pub mod power;
pub mod root;
pub mod session;
pub mod vsock;

mod console;
mod fds;
mod follow;
mod ops;
mod process;
mod sys;
mod worker;

pub use session::{Agent, Session, SessionError};
