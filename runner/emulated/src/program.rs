//! Programs on this machine.
//!
//! Input: a name. Output: paths of programs with that name. Not here: running them.

use std::env;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use crate::elf;

/// The first program of this name on the PATH, or in the usual folders after it.
pub(crate) fn program(name: &str) -> Option<PathBuf> {
    programs(name).next()
}

/// All programs of this name, in the order in which they are looked for.
pub(crate) fn programs(name: &str) -> impl Iterator<Item = PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let mut folders: Vec<PathBuf> = env::split_paths(&path).collect();
    folders.extend(["/usr/bin", "/bin", "/usr/sbin", "/sbin"].map(PathBuf::from));
    let name = name.to_owned();
    folders
        .into_iter()
        .map(move |folder| folder.join(&name))
        .filter(|path| is_executable(path))
}

fn is_executable(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|metadata| metadata.is_file() && metadata.permissions().mode() & 0o111 != 0)
}

/// Whether a file is an ELF program without a loader, as the initramfs needs it.
pub(crate) fn is_static(path: &Path) -> bool {
    fs::read(path).is_ok_and(|image| elf::asks_for_loader(&image) == Some(false))
}
