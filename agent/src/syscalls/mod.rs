//! Raw system calls: one call with the memory it points at, and calls that block, each on a thread of its
//! own.
//!
//! Input: calls as the host describes them.
//! Output: results, at once or later.
//! Not here: sessions; see `ops::syscall`.

pub(crate) mod raw;
pub(crate) mod table;
