//! The machine around an emulated host: what of it a folder shows, and where what is written to it goes.
//!
//! Input: folders. Output: whether what is written to one reaches the machine outside. Not here: the emulated
//! host itself, which mounts that machine's files where [`OUTER`] says, to be read.

use std::path::Path;

use rustix::fs::statfs;

/// Where an emulated host has the files of the machine outside, without what is written inside.
pub const OUTER: &str = "/dev/provium-outer";
/// `f_type` of the layer in memory, which is not above the folders that were given to be written.
const OVERLAY: u32 = 0x794c_7630;

/// Whether this is an emulated host that shows a folder of the machine outside and keeps what is written to
/// it to itself. A folder that was made inside loses nothing: nobody else knows it.
pub fn loses_what_is_written_to(folder: &Path) -> bool {
    let Ok(below_root) = folder.strip_prefix("/") else {
        return false;
    };
    let in_memory = || statfs(folder).is_ok_and(|found| found.f_type as u32 == OVERLAY);
    Path::new(OUTER).join(below_root).is_dir() && in_memory()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outside_nothing_is_lost() {
        assert!(!loses_what_is_written_to(Path::new("/usr")));
        assert!(!loses_what_is_written_to(Path::new("relative")));
    }
}
