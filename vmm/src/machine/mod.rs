//! [`Machine`]: one guest, from its description to its end.
//!
//! ```text
//! create ─► start ─► running ⇄ paused
//!    │         │         │        │
//!    └─────────┴── end ◄─┴────────┘   by the guest, by kill or by drop
//! ```
//!
//! A machine can also begin as a [`shell`](Machine::shell), with nothing in it and its vCPUs parked, and be given
//! the content of a snapshot: the first time, that is a restore; a machine that has run, it puts back (`load`).
//!
//! Threads of a running machine: one a vCPU, one a disk, one supervisor. All are gone when [`Machine::kill`]
//! returns, and so are the guest's memory and every file descriptor; the console's log stays readable.

mod attach;
mod baseline;
mod config;
mod console;
mod disks;
mod end;
mod error;
mod gate;
mod handle;
mod hardware;
mod lifecycle;
mod load;
mod platform;
mod reaper;
mod save;
mod supervisor;
mod vcpu_thread;

pub use config::{Discovery, MachineConfig};
pub use end::EndReason;
pub use error::MachineError;
pub use handle::Machine;
pub use save::SaveOptions;
