//! The machine around an emulated host: what of it a folder shows, and where what is written to it goes.
//!
//! Input: folders. Output: whether what is written to one reaches the machine outside. Not here: the emulated
//! host itself, which mounts that machine's files where [`OUTER`] says, to be read.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// Where an emulated host has the files of the machine outside, without what is written inside.
pub const OUTER: &str = "/dev/provium-outer";

/// Whether this is an emulated host that shows a folder of the machine outside and keeps what is written to
/// it to itself. A folder that was made inside loses nothing: nobody else knows it.
pub fn loses_what_is_written_to(folder: &Path) -> bool {
    let Ok(below_root) = folder.strip_prefix("/") else {
        return false;
    };
    Path::new(OUTER).join(below_root).is_dir() && is_with_the_root(folder)
}

/// Whether a folder is there and on the file system of `/`: in an emulated host that is the layer in memory,
/// and a folder that it shares has one of its own. What a shared one is called (`statfs`) is no help, since
/// it is the outer machine's word, which may run on such a layer itself.
pub fn is_with_the_root(folder: &Path) -> bool {
    let device = |path: &Path| fs::metadata(path).map(|found| found.dev());
    match (device(folder), device(Path::new("/"))) {
        (Ok(of_folder), Ok(of_root)) => of_folder == of_root,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outside_nothing_is_lost() {
        assert!(!loses_what_is_written_to(Path::new("/usr")));
        assert!(!loses_what_is_written_to(Path::new("relative")));
        assert!(is_with_the_root(Path::new("/")));
        assert!(!is_with_the_root(Path::new("/proc")) && !is_with_the_root(Path::new("/nowhere")));
    }
}
