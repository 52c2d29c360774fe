//! How a guest comes to run: booted from a kernel, or resumed from a snapshot.
//!
//! ```text
//! agent_archive  the agent as one more initramfs archive
//! cmdline        the command line that makes it the first process
//! boot           a machine's configuration → a guest whose agent has answered
//! kernel_check   what a kernel lacks whose guest does not come up
//! resume         a guest → a snapshot → a guest
//! warm_pool      machines made ahead, so that a resume does not wait for one
//! wall_clock     a guest's clocks
//! ```
//!
//! Input: configurations and snapshots. Output: guests. Not here: the life of a VM afterwards.

pub(crate) mod agent_archive;
pub(crate) mod boot;
pub(crate) mod cmdline;
pub(crate) mod kernel_check;
pub(crate) mod resume;
pub mod wall_clock;
pub(crate) mod warm_pool;
