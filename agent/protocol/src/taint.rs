//! What the guest's kernel notes about itself, told when it changes.
//!
//! Input: `/proc/sys/kernel/tainted`.
//! Output: one message.
//! Not here: what the bits mean; see `Documentation/admin-guide/tainted-kernels.rst` of the kernel.

use serde::{Deserialize, Serialize};

/// A change of the kernel's taint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Taint {
    /// Bits that this agent process has told of before; 0 at first.
    pub before: u64,
    /// Bits that are set now.
    pub now: u64,
}
