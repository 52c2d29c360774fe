//! A VM without Lua: its life, its power, its agent, its disks and its snapshots.
//!
//! ```text
//! life      the VM and its states
//! power     boot, pause, shutdown, kill
//! calls     requests to its agent
//! console_words  what the console says about ends that the agent cannot explain
//! saved     snapshot, restore, reset
//! disks     disks, attached and detached
//! timeline  which of the things made in the guest are there now
//! gate      who is asked before a machine is made
//! watch     who hears of each machine
//! error     states and errors
//! ```
//!
//! Input: what it boots, then calls. Output: answers or errors that name the VM. Not here: several VMs, which
//! are `lab`'s.

mod calls;
mod console_words;
pub(crate) mod disks;
pub(crate) mod error;
pub(crate) mod gate;
pub(crate) mod life;
mod power;
mod saved;
pub(crate) mod splats;
pub(crate) mod timeline;
pub(crate) mod watch;
