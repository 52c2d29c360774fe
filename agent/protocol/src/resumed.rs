//! News for a guest that has just been restored from a snapshot.
//!
//! Input: the host's random bytes and clock.
//! Output: one message.
//! Not here: how the guest takes it in; that is the agent's.

use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

/// What a restored guest cannot know by itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Resumed {
    /// Random bytes to reseed the kernel's generator with; without them, two guests restored from one
    /// snapshot draw the same numbers. Absent where that is wanted.
    pub entropy: Option<ByteBuf>,
    /// Wall clock time in nanoseconds since 1970. The guest keeps its own time when absent.
    pub wall_clock_ns: Option<u64>,
}
