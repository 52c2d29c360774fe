//! All modules of a kernel, at `/lib/modules/VERSION` in its guest, for `modprobe`.
//!
//! Input: what the guest boots. Output: a shared folder, and where the host's folder lacks them the lists
//! that `modprobe` reads, as files. Not here: those modules that a guest needs before it can see a shared
//! folder (`modules`).

use std::collections::BTreeMap;
use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use parking_lot::Mutex;
use provium_base::modules;

use super::files::InjectedFile;
use super::modules::version;
use super::share::{ShareMode, ShareOption};
use super::spec::GuestSpec;

/// Where a guest looks for modules.
const PLACE: &str = "/lib/modules";
/// What `depmod` makes first of all.
const LIST: &str = "modules.dep";
/// Most modules that lists are made for: of thousands, `depmod` would read more than a boot does.
const MOST: usize = 300;
/// The order of modules; a build tree's is written when they are built.
const ORDER: &str = "modules.order";
/// A folder of modules, and when it had changed.
type Folder = (PathBuf, Option<SystemTime>);

/// What was found in them: each guest of a run has the same.
static FOUND: Mutex<BTreeMap<Folder, Option<Arc<ModuleTree>>>> = Mutex::new(BTreeMap::new());

/// The modules as a guest sees them.
#[derive(Debug)]
pub(super) struct ModuleTree {
    pub(super) share: ShareOption,
    pub(super) lists: Vec<InjectedFile>,
}

/// The modules of a guest's kernel, if it has any and can see shared folders, and if none of `shares` is in
/// their place.
pub(super) fn of(spec: &GuestSpec, shares: &[ShareOption]) -> Option<Arc<ModuleTree>> {
    let folder = spec.modules().filter(|_| spec.inject_agent)?;
    let mut places = shares.iter().map(|share| Path::new(&share.guest));
    if places.any(|place| place.starts_with(PLACE)) {
        return None;
    }
    let changed = |path: &Path| path.metadata().and_then(|found| found.modified()).ok();
    let changed = changed(&folder).max(changed(&folder.join(ORDER)));
    let mut found = FOUND.lock();
    let tree = found.entry((folder.clone(), changed));
    tree.or_insert_with(|| find(folder).map(Arc::new)).clone()
}

fn find(folder: PathBuf) -> Option<ModuleTree> {
    let names = modules::names(&folder);
    if !names.contains("virtiofs") && !modules::built_in(&folder).contains("virtiofs") {
        return None;
    }
    let place = format!("{PLACE}/{}", version(&folder)?);
    let share = |host: PathBuf, guest: String| ShareOption {
        guest,
        host,
        mode: ShareMode::Ro,
    };
    if folder.join(LIST).is_file() {
        let share = share(folder, place);
        return Some(ModuleTree {
            share,
            lists: Vec::new(),
        });
    }
    let lists = match names.len() {
        0..=MOST => lists(&folder, &place).unwrap_or_default(),
        _ => Vec::new(),
    };
    let share = share(files_of(&folder), format!("{place}/kernel"));
    Some(ModuleTree { share, lists })
}

/// What is `kernel` in the folder of a guest: that folder's, or a build tree as it is.
fn files_of(folder: &Path) -> PathBuf {
    match modules::version_of_tree(folder) {
        Some(_) => folder.to_owned(),
        None => folder.join("kernel"),
    }
}

/// The lists for a folder that has none, by a `depmod` that looks at one which is laid as it wants it; none
/// where there is no such program, and `insmod` has to do.
fn lists(folder: &Path, place: &str) -> io::Result<Vec<InjectedFile>> {
    let root = tempfile::tempdir()?;
    let laid = root.path().join(place.trim_start_matches('/'));
    std::fs::create_dir_all(&laid)?;
    symlink(files_of(folder), laid.join("kernel"))?;
    for name in [ORDER, "modules.builtin", "modules.builtin.modinfo"] {
        // A build tree's list has other names in it, and depmod takes any order without one.
        if folder.join(name).is_file() && (name != ORDER || modules::version_of_tree(folder).is_none()) {
            std::fs::copy(folder.join(name), laid.join(name))?;
        }
    }
    let version = laid.file_name().unwrap_or_default();
    let done = modules::make_lists(root.path(), version.as_ref());
    let mut lists = Vec::new();
    for entry in std::fs::read_dir(&laid)?.filter(|_| done) {
        let entry = entry?;
        let name = entry.file_name();
        if entry.file_type()?.is_file() {
            let path = format!("{place}/{}", name.to_string_lossy());
            lists.push(InjectedFile::of_bytes(path, std::fs::read(entry.path())?));
        }
    }
    lists.sort_by(|one, other| one.path.cmp(&other.path));
    Ok(lists)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A folder of modules with these files in it.
    fn folder(files: &[&str]) -> (tempfile::TempDir, GuestSpec) {
        let root = tempfile::tempdir().unwrap();
        let modules = root.path().join("6.1-x");
        for file in files {
            let path = modules.join(file);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "").unwrap();
        }
        let spec = GuestSpec {
            modules: Some(modules),
            ..GuestSpec::new("/kernel")
        };
        (root, spec)
    }

    #[test]
    fn a_folder_with_lists_is_shared_as_it_is() {
        let (root, spec) = folder(&["kernel/fs/fuse/virtiofs.ko", LIST]);
        let tree = of(&spec, &[]).unwrap();
        assert_eq!(tree.share.guest, "/lib/modules/6.1-x");
        assert_eq!(tree.share.host, root.path().join("6.1-x"));
        assert!(tree.share.mode == ShareMode::Ro && tree.lists.is_empty());
        let own = [tree.share.clone()];
        assert!(of(&spec, &own).is_none(), "the user's own wins");
    }

    #[test]
    fn one_without_gets_lists() {
        let (root, spec) = folder(&["kernel/fs/fuse/virtiofs.ko"]);
        let tree = of(&spec, &[]).unwrap();
        assert_eq!(tree.share.guest, "/lib/modules/6.1-x/kernel");
        assert_eq!(tree.share.host, root.path().join("6.1-x/kernel"));
    }

    #[test]
    fn a_kernel_that_cannot_see_it_is_given_none() {
        let (_root, spec) = folder(&["kernel/fs/ext4/ext4.ko", LIST]);
        assert!(of(&spec, &[]).is_none());
        assert!(of(&GuestSpec::new("/kernel"), &[]).is_none());
    }
}
