//! The folders that snapshots are in.
//!
//! Input: paths of the host. Output: folders that are made, measured and removed. Not here: what is in the
//! files.

use std::fs::DirBuilder;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::Path;

use provium_base::cause::Cause;
use provium_guest::HostStore;
use provium_vmm::snapshot::files;
use tempfile::TempDir;

/// A folder of its own for a snapshot, which goes with the value.
pub(super) fn temporary(store: &dyn HostStore) -> Result<TempDir, String> {
    let within = store.temporary()?;
    let made = tempfile::Builder::new()
        .prefix("provium-snapshot-")
        .tempdir_in(within);
    made.map_err(|error| format!("no folder for the snapshot: {}", Cause(&error)))
}

/// Makes the folder of a snapshot, which nobody else can look into; refuses one that has something in it.
pub(super) fn new_folder(path: &Path) -> Result<(), String> {
    let parents = path.parent().map_or(Ok(()), std::fs::create_dir_all);
    let made = parents.and_then(|()| DirBuilder::new().recursive(true).mode(0o700).create(path));
    made.map_err(|error| format!("{}: {}", path.display(), Cause(&error)))?;
    match std::fs::read_dir(path).map(|mut entries| entries.next().is_some()) {
        Ok(false) => Ok(()),
        Ok(true) => Err(format!(
            "{}: the folder is not empty; a snapshot needs one of its own",
            path.display()
        )),
        Err(error) => Err(format!("{}: {}", path.display(), Cause(&error))),
    }
}

/// Refuses a folder in which nothing that is called `file` can be read.
pub(super) fn check(folder: &Path, file: &str) -> Result<(), String> {
    match folder.join(file).try_exists() {
        Ok(false) => Err(format!("there is no snapshot in {}", folder.display())),
        // What cannot be looked at says itself why.
        Ok(true) | Err(_) => Ok(()),
    }
}

/// Removes a snapshot's files, and its folder if nothing else is in it.
pub(super) fn remove(folder: &Path) {
    for file in files() {
        // What is not there need not go.
        let _ = std::fs::remove_file(folder.join(file));
    }
    let _ = std::fs::remove_dir(folder);
}

/// Bytes that a snapshot takes on the disk; 0 where there is none.
pub(super) fn size(folder: &Path) -> u64 {
    let of = |file: String| std::fs::metadata(folder.join(file)).map_or(0, |data| data.blocks() * 512);
    files().into_iter().map(of).sum()
}
