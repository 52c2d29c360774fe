//! The guest's side of Provium: takes requests from the host and does them.
//!
//! ```text
//! kernel → init → fork ─┬─ PID 1: the initrd's own /init, or the reaper
//!                       └─ daemon ─┬─ first session: connected to the host, again whenever that has ended
//!                                  ├─ supervisor: accepts sessions, drains left-over pipes, ends the machine
//!                                  └─ further sessions, a thread each
//! session → serve → ops/… → reply
//! ```
//!
//! A session needs nothing but a connected socket, so that all of it can be tested on the host.
//!
//! ```text
//! main, init, daemon                       who runs
//! serve ⇄ worker, listener                 requests; a worker answers as a session does
//! ops/                                     one request each
//! session, estate, agent                   state of one connection, of all of them
//! process/, follow/, syscalls/             programs, streams, system calls on threads
//! threads/                                 notices threads that the kernel has ended
//! connection, failure, supervisor, …       what all of these use
//! sys, fds, poll, lock                     the kernel
//! ```
//!
//! Input: the role of PID 1 ([`init`]) and vsock connections to the host ([`daemon`]).
//! Output: replies.
//! Not here: an async runtime, configuration, and any state that outlives a session but the supervisor's and
//! the connections that wait for a worker.

pub mod daemon;
pub mod init;
pub mod root;
pub mod supervisor;
pub mod vsock;

mod agent;
mod connection;
mod console;
mod estate;
mod failure;
mod fds;
mod follow;
mod listener;
mod lock;
mod oom;
mod open_files;
mod ops;
mod parked;
mod poll;
mod power;
mod process;
mod random;
mod serve;
mod session;
mod sys;
mod syscalls;
mod taint;
mod threads;
mod wakeup;
mod worker;

pub use agent::Agent;
pub use connection::SessionError;
pub use session::Session;
