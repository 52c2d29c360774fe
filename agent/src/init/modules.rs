//! Kernel modules that the archives behind the kernel bring for the agent: `/.provium/modules/VERSION`.
//!
//! Input: for this version of the kernel, files in the order of their names, each after those it depends on,
//! unpacked. Those for other kernels stay where they are, so that one archive serves several.
//! Output: loaded modules, and the files gone from memory. One that the kernel refuses is named on the
//! console; what needs it says so itself.
//! Not here: which modules, and what they depend on; who makes the archive knows.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use rustix::io::Errno;

use crate::console::say;
use crate::failure::errno_text;
use crate::sys;

const FOLDER: &str = "/.provium/modules";

/// Loads them all.
pub(super) fn load() {
    let version = rustix::system::uname();
    for path in in_order(&Path::new(FOLDER).join(&*version.release().to_string_lossy())) {
        let loaded = match File::open(&path) {
            Ok(file) => sys::finit_module(&file),
            Err(error) => Err(sys::errno_of(&error)),
        };
        match loaded {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(error) => say!("cannot load {}: {}", path.display(), errno_text(error)),
        }
        let _ = fs::remove_file(&path);
    }
}

/// The files of a folder by name; none where it is not there.
fn in_order(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
    paths.sort();
    paths
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_say_the_order() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["10-ext4.ko", "00-virtio.ko", "02-vsock.ko"] {
            fs::write(folder.path().join(name), "").unwrap();
        }
        let paths = in_order(folder.path());
        let names = paths.iter().map(|path| path.file_name().unwrap());
        assert_eq!(
            names.collect::<Vec<_>>(),
            ["00-virtio.ko", "02-vsock.ko", "10-ext4.ko"]
        );
        assert!(in_order(&folder.path().join("absent")).is_empty());
    }
}
