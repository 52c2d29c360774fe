//! The ready guest that a profile names by `guest:debian`.
//!
//! Input: a folder for caches. Output: Debian's kernel, an initrd and, when asked for, a userland in it, and
//! where they are. Not here: how each is made.
//!
//! Two links in the cache say what is current, so that a newer kernel comes with its own modules at once:
//! `debian-kernel-RECIPE` and `debian-userland`. A guest of another recipe is none: it may lack a module that
//! is needed now.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::cache::Cache;
use crate::{apt, kernel, userland};

/// The word of a profile's `kernel`, `initrd` and `rootfs` that stands for this guest.
pub const NAME: &str = "guest:debian";

const KERNEL_LINK: &str = "debian-kernel-";
const USERLAND_LINK: &str = "debian-userland";

/// The guest's files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DebianGuest {
    /// A bzImage.
    pub kernel: PathBuf,
    /// Busybox and the modules that the kernel needs here.
    pub initrd: PathBuf,
    /// A disk image, there when the userland was asked for.
    pub rootfs: PathBuf,
}

impl DebianGuest {
    /// Where the files are, or will be, in the cache below the folder for caches `base`.
    pub fn at(base: &Path) -> DebianGuest {
        let (kernel, userland) = (
            Cache::below(base).join(kernel_link()),
            Cache::below(base).join(USERLAND_LINK),
        );
        DebianGuest {
            kernel: kernel.join(kernel::IMAGE),
            initrd: kernel.join(kernel::INITRD),
            rootfs: userland.join(userland::IMAGE),
        }
    }
}

/// What makes a file that is not there, if it is one of this guest's.
pub fn hint(path: &Path) -> Option<&'static str> {
    let folder = path.parent()?.file_name()?;
    match folder.to_str()? {
        USERLAND_LINK => Some("`provium guest fetch --userland` makes it"),
        name if name == kernel_link() => Some("`provium guest fetch` makes it"),
        _ => None,
    }
}

/// Name of the link to the current kernel.
fn kernel_link() -> String {
    format!("{KERNEL_LINK}{}", kernel::RECIPE)
}

/// Makes the guest current: fetches what is newer than what the cache has, and the userland too if asked for.
///
/// # Errors
/// When a package cannot be had, or a file not be written.
pub fn fetch(base: &Path, with_userland: bool, say: &dyn Fn(&str)) -> Result<DebianGuest> {
    apt::refresh(say)?;
    let cache = Cache::at(base, say)?;
    link(&cache, &kernel::cloud(&cache)?.entry, &kernel_link())?;
    if with_userland {
        link(&cache, &userland::entry(&cache)?, USERLAND_LINK)?;
    }
    Ok(DebianGuest::at(base))
}

/// Makes `name` in the cache a link to an entry; one that is there is replaced at once.
fn link(cache: &Cache<'_>, entry: &Path, name: &str) -> Result<()> {
    let target = entry.file_name().context("an entry has a name")?;
    let place = cache.folder().join(name);
    let failed = || format!("link {} to {}", place.display(), entry.display());
    let new = tempfile::tempdir_in(cache.folder()).with_context(failed)?;
    let new = new.path().join(name);
    std::os::unix::fs::symlink(target, &new).with_context(failed)?;
    std::fs::rename(&new, &place).with_context(failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_file_is_told_from_a_users() {
        let guest = DebianGuest::at(Path::new("/caches"));
        assert!(hint(&guest.kernel).is_some_and(|hint| !hint.contains("--userland")));
        assert!(hint(&guest.rootfs).is_some_and(|hint| hint.contains("--userland")));
        assert_eq!(hint(Path::new("/src/vmlinux")), None);
    }

    #[test]
    fn a_newer_entry_takes_the_place_of_the_older() {
        let base = tempfile::tempdir().unwrap();
        let cache = Cache::at(base.path(), &|_| ()).unwrap();
        for content in ["old", "new"] {
            let entry = cache.folder().join(format!("cloud-{content}"));
            std::fs::create_dir(&entry).unwrap();
            std::fs::write(entry.join(kernel::IMAGE), content).unwrap();
            link(&cache, &entry, &kernel_link()).unwrap();
            let kernel = DebianGuest::at(base.path()).kernel;
            assert_eq!(std::fs::read_to_string(kernel).unwrap(), content);
        }
        let names = std::fs::read_dir(cache.folder()).unwrap().count();
        assert_eq!(names, 3, "nothing is left over");
    }
}
