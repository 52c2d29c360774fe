//! Boot options: memory, vCPUs, command line, disks, files.
//!
//! Input: Lua tables, a profile. Output: the configuration of a machine. `read` alone knows Lua. Not here:
//! booting.

pub(crate) mod disks;
pub(crate) mod files;
pub(crate) mod options;
pub(crate) mod read;
