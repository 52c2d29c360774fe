//! `Lab`: VMs and labs inside it, by name; `provium` is the root lab of a file.
//!
//! Input: declarations, members, calls that mean all VMs. Output: handles, and what became of the VMs.
//! Not here: what is true of a lab without Lua, which `guest` has; and the table of all methods, which
//! `tables` puts together.

pub(crate) mod barrier;
pub(crate) mod claim;
pub(crate) mod handle;
pub(crate) mod membership;
pub(crate) mod methods;
pub(crate) mod settings;
