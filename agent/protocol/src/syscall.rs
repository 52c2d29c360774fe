//! Raw system calls: number, registers and the memory they point at.
//!
//! Input: buffers and where their addresses go.
//! Output: one call, as the agent makes it.
//! Not here: results, which are [`crate::Response::Syscall`]; names of calls.

use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

use crate::bounded::list;

/// A raw system call and the memory it points at.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Syscall {
    /// Number of the call on x86-64.
    pub nr: i64,
    /// The six argument registers.
    pub args: [u64; 6],
    /// Buffers placed in the agent's memory for the time of the call.
    #[serde(deserialize_with = "list")]
    pub bufs: Vec<ByteBuf>,
    /// `(argument, buffer)`: which argument (0–5) receives the address of which buffer (0-based).
    #[serde(deserialize_with = "list")]
    pub ptrs: Vec<(u8, u32)>,
    /// Buffers whose address is written inside another buffer before the call.
    #[serde(deserialize_with = "list")]
    pub nested: Vec<Nested>,
}

/// A pointer stored inside a buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Nested {
    /// Buffer (0-based) that holds the pointer.
    pub parent: u32,
    /// Byte offset of the pointer in it; eight bytes must fit.
    pub offset: u32,
    /// Buffer (0-based) pointed at.
    pub child: u32,
}
