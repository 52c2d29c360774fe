//! A temporary folder for one run, shared with the emulated host.
//!
//! Input: the cache folder. Output: a [`Scratch`]. Not here: what is in it.
//!
//! The folder is locked during its run. The folder of a run that was killed is found unlocked by the next
//! run, which removes it.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

/// A temporary folder; dropping this removes it.
pub(crate) struct Scratch {
    folder: PathBuf,
    _lock: File,
}

impl Scratch {
    /// Makes a folder in `runs`, and removes those of runs that were killed.
    ///
    /// # Errors
    /// When it cannot be made.
    pub(crate) fn create(runs: &Path) -> io::Result<Self> {
        fs::create_dir_all(runs)?;
        // While this is locked, every folder that is not locked belongs to a run that was killed.
        let all = File::options()
            .create(true)
            .append(true)
            .open(runs.join("lock"))?;
        all.lock()?;
        for entry in fs::read_dir(runs)?
            .flatten()
            .filter(|entry| entry.path().is_dir())
        {
            let dead = File::open(entry.path()).is_ok_and(|folder| folder.try_lock().is_ok());
            if dead {
                let _ = fs::remove_dir_all(entry.path());
            }
        }
        let folder = tempfile::Builder::new().prefix("run-").tempdir_in(runs)?.keep();
        let lock = File::open(&folder)?;
        lock.lock()?;
        Ok(Self { folder, _lock: lock })
    }

    /// The folder.
    pub(crate) fn path(&self) -> &Path {
        &self.folder
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.folder);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_lives_as_long_as_its_run_and_dead_ones_are_removed() {
        let runs = tempfile::tempdir().unwrap();
        fs::create_dir_all(runs.path().join("run-dead/with")).unwrap();
        let first = Scratch::create(runs.path()).unwrap();
        let second = Scratch::create(runs.path()).unwrap();
        assert!(first.path().is_dir() && second.path().is_dir());
        assert!(!runs.path().join("run-dead").exists());
        let path = first.path().to_owned();
        drop(first);
        assert!(!path.exists());
        assert!(second.path().is_dir());
    }
}
