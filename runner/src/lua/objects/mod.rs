//! The userdata of the API: labs, VMs and what is in them.
//!
//! Input: calls of a test. Output: what the guests did. Not here: the life of a guest, which is in `guest`.

pub(crate) mod agent;
pub(crate) mod barrier;
pub(crate) mod baseline;
pub(crate) mod batch;
pub(crate) mod boot_options;
pub(crate) mod capture;
pub(crate) mod claim;
pub(crate) mod clock;
pub(crate) mod command;
pub(crate) mod console;
pub(crate) mod console_talk;
pub(crate) mod disk;
pub(crate) mod dmesg;
pub(crate) mod files;
pub(crate) mod inject;
pub(crate) mod ioctl;
pub(crate) mod lab;
pub(crate) mod membership;
pub(crate) mod open_file;
pub(crate) mod process;
pub(crate) mod remote;
pub(crate) mod run_result;
pub(crate) mod snapshot;
pub(crate) mod stream;
pub(crate) mod syscall;
pub(crate) mod syscall_handle;
pub(crate) mod tail;
pub(crate) mod vm;
pub(crate) mod worker;
