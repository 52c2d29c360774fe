//! The modules of a kernel that has drivers as such: an archive of those that a guest needs.
//!
//! Input: a kernel, a folder `lib/modules/VERSION` or a build tree. Output: an archive that the agent loads
//! from before anything else, the same for all machines of this process. Not here: loading them; the other
//! modules (`module_tree`).

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use parking_lot::Mutex;
use provium_base::initramfs::{InitramfsFile, archive};
use provium_base::modules;

use super::error::OptionsError;

/// Where the agent looks, in a folder for each version.
const FOLDER: &str = "/.provium/modules";
/// What a kernel in `boot` is called in front of its version.
const IMAGE: &str = "vmlinuz-";

/// The archives that were made, by their folders.
static MADE: Mutex<BTreeMap<PathBuf, Made>> = Mutex::new(BTreeMap::new());

/// An archive, and when its folder had changed last.
struct Made {
    changed: Option<SystemTime>,
    archive: Arc<[u8]>,
}

/// The modules of a kernel that lies as distributions have it, `lib/modules/VERSION` beside
/// `boot/vmlinuz-VERSION`, or in the build tree that has some.
pub fn modules_of(kernel: &Path) -> Option<PathBuf> {
    let root = match kernel.parent()? {
        folder if folder.ends_with("boot") => folder.ancestors().nth(3),
        folder => Some(folder),
    };
    let tree = root.filter(|root| modules::version_of_tree(root).is_some());
    if let Some(tree) = tree {
        return Some(tree.to_owned()).filter(|tree| !modules::names(tree).is_empty());
    }
    let version = kernel.file_name()?.to_str()?.strip_prefix(IMAGE)?;
    let root = kernel.parent()?.parent()?;
    let folders = ["lib/modules", "usr/lib/modules"].map(|folder| root.join(folder).join(version));
    folders.into_iter().find(|folder| folder.is_dir())
}

/// The archive of a folder's modules.
///
/// # Errors
/// When one cannot be read or unpacked, or the folder's name is no version.
pub fn modules_archive(folder: &Path) -> Result<Arc<[u8]>, OptionsError> {
    let changed = std::fs::metadata(folder)
        .and_then(|metadata| metadata.modified())
        .ok();
    let mut made = MADE.lock();
    if let Some(known) = made.get(folder).filter(|known| known.changed == changed) {
        return Ok(Arc::clone(&known.archive));
    }
    let archive = make(folder)?;
    let known = Made {
        changed,
        archive: Arc::clone(&archive),
    };
    made.insert(folder.to_owned(), known);
    Ok(archive)
}

/// The kernel's version: what a build tree says, or else the folder's name.
pub(super) fn version(folder: &Path) -> Option<String> {
    let named = || Some(folder.file_name()?.to_str()?.to_owned());
    modules::version_of_tree(folder).or_else(named)
}

fn make(folder: &Path) -> Result<Arc<[u8]>, OptionsError> {
    let version = version(folder).ok_or_else(|| OptionsError::NoFile(folder.to_owned()))?;
    // What a kernel has neither as a module nor built in, its guest does without, or says so.
    let wanted = [&modules::GUEST_NEEDS[..], &modules::GUEST_WANTS].concat();
    let found = modules::load(folder, &[], &wanted).map_err(OptionsError::Modules)?;
    let paths: Vec<String> = (0..)
        .zip(&found)
        .map(|(index, module)| format!("{FOLDER}/{version}/{index:03}-{}.ko", module.name))
        .collect();
    let files: Vec<_> = paths
        .iter()
        .zip(&found)
        .map(|(path, module)| InitramfsFile {
            path,
            mode: 0o644,
            content: &module.image,
        })
        .collect();
    Ok(archive(&files)?.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_distributions_kernel_has_its_modules_beside_it() {
        let root = tempfile::tempdir().unwrap();
        let kernel = root.path().join("boot/vmlinuz-6.1-x");
        assert_eq!(modules_of(&kernel), None);
        let folder = root.path().join("usr/lib/modules/6.1-x");
        std::fs::create_dir_all(&folder).unwrap();
        assert_eq!(modules_of(&kernel), Some(folder));
        assert_eq!(modules_of(&root.path().join("boot/vmlinuz")), None);
    }

    #[test]
    fn a_build_tree_has_its_modules_in_it() {
        let root = tempfile::tempdir().unwrap();
        for (file, content) in [
            ("include/config/kernel.release", "6.12-mine\n"),
            ("modules.order", "drivers/virtio/virtio_mmio.o\n"),
            ("arch/x86/boot/bzImage", ""),
            ("vmlinux", ""),
        ] {
            let path = root.path().join(file);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, content).unwrap();
        }
        let kernel = root.path().join("arch/x86/boot/bzImage");
        assert_eq!(modules_of(&kernel), None);
        std::fs::create_dir_all(root.path().join("drivers/virtio")).unwrap();
        std::fs::write(root.path().join("drivers/virtio/virtio_mmio.ko"), "x").unwrap();
        for kernel in [kernel, root.path().join("vmlinux")] {
            assert_eq!(modules_of(&kernel).as_deref(), Some(root.path()));
        }
        let archive = modules_archive(root.path()).unwrap();
        let name = b".provium/modules/6.12-mine/000-virtio_mmio.ko";
        assert!(archive.windows(name.len()).any(|part| part == name));
    }

    #[test]
    fn only_what_a_guest_needs_is_taken() {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("6.1-x");
        std::fs::create_dir_all(folder.join("kernel/drivers")).unwrap();
        for name in ["virtio_mmio", "virtio-rng", "sound"] {
            std::fs::write(folder.join(format!("kernel/drivers/{name}.ko")), name).unwrap();
        }
        let archive = modules_archive(&folder).unwrap();
        let has = |name: &str| archive.windows(name.len()).any(|part| part == name.as_bytes());
        assert!(has(".provium/modules/6.1-x/000-virtio_mmio.ko"));
        assert!(has("001-virtio_rng.ko") && !has("sound"));
        assert!(Arc::ptr_eq(&archive, &modules_archive(&folder).unwrap()));
    }
}
