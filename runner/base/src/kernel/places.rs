//! Where a kernel lies in its build tree.
//!
//! Input: a folder. Output: a path. Not here: what is at it.

use std::path::{Path, PathBuf};

/// Places in a build tree, the best first.
pub const IN_TREE: [&str; 3] = ["arch/x86/boot/bzImage", "arch/x86_64/boot/bzImage", "vmlinux"];

/// The kernel in a build tree, if it was built.
pub fn image_in(folder: &Path) -> Option<PathBuf> {
    IN_TREE
        .map(|name| folder.join(name))
        .into_iter()
        .find(|path| path.is_file())
}
