//! Streams: bytes of a guest as they come, whatever they come from.
//!
//! Input: sources of bytes. Output: the userdata `ConsoleStream` and `Tail`. Not here: the console and
//! processes, which are sources of their own.

pub(crate) mod followed;
pub(crate) mod handle;
pub(crate) mod tail;
