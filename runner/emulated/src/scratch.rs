//! A folder for one run, shared with the emulated host, that does not outlive the run.
//!
//! Enters: the cache folder. Leaves: a [`Scratch`]. Absent on purpose: what is in it.
//!
//! The folder is locked while its run lives. What a killed run leaves behind is found unlocked, and removed, by
//! the next one.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};

/// A folder that is removed when this is dropped.
pub(crate) struct Scratch {
    folder: PathBuf,
    _lock: File,
}

impl Scratch {
    /// Makes a folder below `runs`, and removes those of runs that have died.
    pub(crate) fn create(runs: &Path) -> io::Result<Self> {
        fs::create_dir_all(runs)?;
        // While this is held, every folder without a lock is a dead run's.
        let all = File::options()
            .create(true)
            .append(true)
            .open(runs.join("lock"))?;
        flock(&all, FlockOperation::LockExclusive)?;
        for entry in fs::read_dir(runs)?
            .flatten()
            .filter(|entry| entry.path().is_dir())
        {
            let dead = File::open(entry.path())
                .is_ok_and(|folder| flock(&folder, FlockOperation::NonBlockingLockExclusive).is_ok());
            if dead {
                let _ = fs::remove_dir_all(entry.path());
            }
        }
        let folder = tempfile::Builder::new().prefix("run-").tempdir_in(runs)?.keep();
        let lock = File::open(&folder)?;
        flock(&lock, FlockOperation::LockExclusive)?;
        Ok(Self { folder, _lock: lock })
    }

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
