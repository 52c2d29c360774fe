//! Snapshots: what takes and restores them, and what they are to Lua.
//!
//! Input: calls of a test. Output: folders on the host, VMs in the state they had. Not here: the format,
//! which is the monitor's.

pub(crate) mod calls;
mod folder;
pub(crate) mod saved;
