//! How large things on the wire may be.
//!
//! Input: nothing.
//! Output: sizes that both sides count on.
//! Not here: the checks; see `frame` and `bounded`.

/// Most bytes of a frame, header included: two buffers of a system call at their greatest, and what goes with
/// them.
pub const MAX_FRAME: usize = 33 << 20;
/// Most entries of a folder that are listed; their structures take no more than a frame.
pub(crate) const MAX_ENTRIES: usize = 1_000_000;
/// Most bytes that the entries of a folder take on their way.
pub const MAX_LISTING: usize = 64 << 20;
/// Most bytes a sender puts in one `Data` frame.
pub const DATA_CHUNK: usize = 256 * 1024;
