//! The files of a snapshot: their names, and the version of what is in them.
//!
//! Input: nothing. Output: constants, and the list of all names. Not here: what the files contain.

use crate::disk::saved;
use crate::limits::MAX_DISKS;

/// Name of the file with everything but memory and disks.
pub const STATE_FILE: &str = "state";
/// Name of the file with the numbers of the pages that guests write first; not every snapshot has one.
pub(crate) const TOUCHED_FILE: &str = "touched";
/// Name of the file with the guest's memory.
pub const MEMORY_FILE: &str = "memory";

/// The version of the format that this Provium writes and reads. Goes up with every change of a structure in
/// [`state`](super::state), or of what one means.
pub const FORMAT_VERSION: u32 = 4;

/// The names of all files that a snapshot may have.
pub fn files() -> Vec<String> {
    let own = [STATE_FILE, MEMORY_FILE, TOUCHED_FILE].map(str::to_owned);
    own.into_iter().chain(saved::all_names(MAX_DISKS)).collect()
}
