//! The host's side of a guest: booting it, asking its agent, noticing its end.
//!
//! Enters: a machine's configuration. Leaves: a [`Vm`] with a [`GuestClient`] behind it. Absent on purpose: Lua,
//! `provium.toml` and reports; the way a request takes is `lua/` → here → `provium-protocol` → the agent.

mod agent_archive;
mod boot;
mod client;
mod cmdline;
mod disks;
mod error;
mod exchange;
#[cfg(test)]
mod hostile;
#[cfg(any(test, feature = "local-agent"))]
pub mod local_agent;
mod ready;
mod resume;
mod stream;
#[cfg(test)]
mod tests;
mod timeline;
mod vm;
mod vm_error;
pub mod wall_clock;

pub use agent_archive::{AGENT_PATH, agent_archive};
pub use boot::{BootError, CONSOLE_TAIL, Guest, boot};
pub use client::{
    BatchAnswer, BatchOp, Came, EnvVar, ExecOutcome, ExecSpec, Following, GuestClient, Parked, Piece,
    Spawned, Started, SyscallResult, Waited,
};
pub use cmdline::with_agent;
pub use disks::ROOTFS_DISK;
pub use error::GuestError;
pub use provium_protocol::{
    AGENT_PORT, DirEntry, EntryType, ExitStatus, Follow, FollowStart, Nested, OpenFile, Stat, Syscall, Whence,
};
pub use ready::Ready;
pub use resume::{Arrival, NOTE_VERSION, ResumeError, arrival_of, reset, resume, resume_in, save};
pub use stream::Stream;
pub use timeline::{Moment, Timeline};
pub use vm::Vm;
pub use vm_error::{VmError, VmState};
