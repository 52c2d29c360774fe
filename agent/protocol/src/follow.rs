//! Streams: what the agent can push to the host as it grows.
//!
//! Input: a path, a descriptor or a program's handle, and where to begin.
//! Output: the description of a stream.
//! Not here: the stream's bytes, which travel as `Data` frames on [`crate::BODY`].

use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

/// Source of a stream.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Follow {
    /// A growing file, by its path: through truncation, renaming and replacement.
    File {
        /// Path in the guest.
        path: ByteBuf,
        /// Where to begin.
        start: FollowStart,
    },
    /// What can be read from a descriptor; a regular file from the descriptor's position on, which stays
    /// where it is.
    Fd {
        /// The descriptor.
        fd: i32,
    },
    /// The output of a started program.
    Output {
        /// Handle of the program.
        handle: u64,
        /// Standard error in place of standard output.
        stderr: bool,
        /// Byte offset to begin at; the oldest buffered byte where that offset has been dropped.
        from: u64,
    },
}

/// Where in a file a stream begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum FollowStart {
    /// At the file's present end.
    End,
    /// At this byte offset; a negative one counts back from the end.
    Offset(i64),
}
