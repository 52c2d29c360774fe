//! [`Machine`]: one guest, from its description to its end.
//!
//! Input: a [`MachineConfig`], or a snapshot. Output: a guest that runs, streams to it, snapshots of it, its
//! end. Not here: what is said on streams, and where snapshots are stored.
//!
//! ```text
//! create ─► start ─► running ⇄ paused
//!    │         │         │        │
//!    └─────────┴── end ◄─┴────────┘   by the guest, by kill or by drop
//! ```
//!
//! A machine can also begin [blank](Machine::blank), with nothing in it and its vCPUs parked, and be given
//! the content of a snapshot: the first time, that is a restore; a machine that has run, it resets in place
//! ([`Machine::load`]).
//!
//! Threads of a running machine: one a vCPU, one a disk, one supervisor. All are gone when [`Machine::kill`]
//! returns, and so are the guest's memory and every file descriptor; the console's log stays readable.
//!
//! ```text
//! save load attach reaper   what the host does with a machine beyond driving it
//! handle                    Machine: create, start, pause, resume, connect, kill
//! hardware                  memory, vCPUs, devices, put together
//! ram                       memory before anything is in it
//! cid                       context ids of guests
//! baseline                  the snapshot a machine was equal to, and what has changed since
//! platform disks            the devices on their buses; disks in their slots
//! vcpu_thread supervisor    the threads
//! lifecycle                 who may end a machine, and whom that concerns
//! places looks              looking where vCPUs stand
//! end gate console          the first end reason; where vCPUs stop; what the guest printed
//! ```

mod attach;
mod baseline;
mod cid;
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
mod looks;
mod places;
mod platform;
mod ram;
mod reaper;
mod save;
mod supervisor;
mod vcpu_thread;

pub use config::{Discovery, MachineConfig};
pub use console::{Splat, SplatKind, SplatListener, splats_in};
pub use end::EndReason;
pub use error::MachineError;
pub use handle::Machine;
pub use save::SaveOptions;
