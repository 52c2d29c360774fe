//! Threads of the agent that the kernel has ended while the agent went on.
//!
//! Input: what the agent knows of the thread.
//! Output: the description of its end.
//! Not here: what the kernel says of it, which is on the console.

use serde::{Deserialize, Serialize};

/// A thread of the agent that the kernel has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndedThread {
    /// Its thread id in the guest.
    pub tid: u32,
    /// How it ended.
    pub how: ThreadEnd,
    /// Whether it served the session on which this is said; nothing more comes on that connection then.
    pub served: bool,
}

/// How a thread ended, as far as the agent can tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum ThreadEnd {
    /// By the system call `exit`, which ends one thread.
    Exit {
        /// Argument of the call.
        status: i32,
    },
    /// By a call that seccomp did not allow it.
    Seccomp,
    /// By the kernel, for reasons of its own: an oops or a `BUG()` in what it did for the thread.
    Killed,
}
