//! VMs and labs without Lua: boot, resume, reset, and talk to the agent in a guest.
//!
//! ```text
//! lab      several VMs and labs: all at once, saved together, put back together
//! options  what a guest boots
//! vm       one VM: life, power, calls, disks, snapshots
//! start    booted from a kernel, or resumed from a snapshot
//! client   what can be asked of the agent
//! wire     bytes and frames of one session
//! ```
//!
//! Input: a description of what to boot, then calls. Output: answers. Each folder uses those below it. Not
//! here: Lua, `provium.toml` and reports. This is the only user of the agent's protocol besides the agent.

mod client;
mod error;
mod lab;
#[cfg(any(test, feature = "local-agent"))]
pub mod local_agent;
mod options;
mod start;
#[cfg(test)]
mod tests;
mod vm;
mod wire;

/// Operations of the agent, for [`GuestClient::ask`] and [`GuestClient::batch`].
pub mod ops {
    pub use crate::client::files::*;
    pub use crate::client::process::*;
    pub use crate::client::syscall::*;
}

pub use client::attach::{AttachedInput, AttachedProgram, Attachment};
pub use client::follow::{FollowStream, StreamRead};
pub use client::op::Op;
pub use client::process::{EnvVar, ExecOutcome, ExecSpec, OutputChunk, Started, WaitOutcome};
pub use client::session::GuestClient;
pub use client::syscall::SyscallResult;
pub use client::worker::{ParkedSession, WorkerAddress};
pub use error::GuestError;
pub use lab::barrier::{BarrierError, Barriers, Waiter};
pub use lab::baseline::{Baseline, BaselineError};
pub use lab::handle::{SaveMode, SetupError, VmHandle, all_at_once};
pub use lab::members::{DeclareError, Lab, Member, MemberError, Part, WeakLab};
pub use lab::path::{PlacedVm, VmPath, placed_vms};
pub use lab::snapshot::{
    LabSnapshot, RestoreAllError, ResumeLabError, SaveAllError, SavedVm, restore_all, save_all,
};
pub use lab::store::HostStore;
pub use options::boot::BootOptions;
pub use options::disk::DiskOption;
pub use options::error::OptionsError;
pub use options::files::{FileContent, InjectedFile};
pub use options::modules::{modules_archive, modules_of};
pub use options::share::{ShareMode, ShareOption};
pub use options::spec::{GuestSpec, WallClock};
pub use provium_base::cancel::{Cancel, CancelReason};
pub use provium_protocol::{
    AGENT_PORT, DirEntry, EntryType, ExitStatus, Exited, Follow, FollowStart, Joined, Nested, OpError,
    OpenFile, Process, Stat, Syscall, Terminal, TerminalSize, Whence,
};
pub use start::agent_archive::{AGENT_PATH, agent_archive};
pub use start::boot::{BootError, Guest, boot, boot_watched};
pub use start::cmdline::with_agent;
pub use start::kernel_check::KernelCheck;
pub use start::resume::{
    NOTE_VERSION, ResumeError, ResumeOptions, note_touched, reset, resume, resume_in, resume_options_of, save,
};
pub use start::wall_clock;
pub use start::warm_pool::WarmPool;
pub use vm::disks::ROOTFS_DISK;
pub use vm::error::{VmError, VmState, says_no_boot};
pub use vm::gate::{Gate, Lease};
pub use vm::life::{ConsoleMark, Vm};
pub use vm::splats::FoundSplat;
pub use vm::timeline::{Epoch, Timeline};
pub use vm::watch::LifeWatch;
pub use wire::answer::memory_limit;
pub use wire::stream::Connection;
