//! The userdata of the API: labs, VMs and what is in them.
//!
//! Input: calls of a test. Output: what the guests did. Not here: the life of a guest, which is in `guest`.

pub(crate) mod agent;
pub(crate) mod batch;
pub(crate) mod boot_options;
pub(crate) mod clock;
pub(crate) mod console;
pub(crate) mod disk;
pub(crate) mod dmesg;
pub(crate) mod files;
pub(crate) mod fixture;
pub(crate) mod fixture_entry;
pub(crate) mod folders;
pub(crate) mod lab;
pub(crate) mod open_file;
pub(crate) mod operation;
pub(crate) mod process;
pub(crate) mod remote;
pub(crate) mod snapshot;
pub(crate) mod stream;
pub(crate) mod syscall;
pub(crate) mod vm;
pub(crate) mod worker;
