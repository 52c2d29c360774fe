//! Locks on files, between processes and within one.
//!
//! Input: a path. Output: a [`Lock`], which ends when it is dropped or its process dies, however it dies. A
//! lock file may be removed by its exclusive holder: taking a lock checks that the file is still the one at
//! its path. Not here: who holds it (`holder`), and waiting that cannot be cancelled.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::iter;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use provium_base::cancel::{Cancel, CancelReason};

/// Longest pause before a waiter tries again.
pub(crate) const POLL: Duration = Duration::from_millis(50);

/// A locked file; dropping this unlocks it.
#[derive(Debug)]
pub(crate) struct Lock {
    file: File,
    path: PathBuf,
}

/// Whether a lock is held alone or together with others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    Exclusive,
    Shared,
}

impl Lock {
    /// Takes the lock if no other holder is in the way, else gives `None`.
    ///
    /// # Errors
    /// When the file cannot be made or opened.
    pub(crate) fn try_new(path: &Path, mode: Mode) -> io::Result<Option<Lock>> {
        loop {
            let file = OpenOptions::new()
                .read(true)
                .write(true)
                .create(true)
                .truncate(false)
                .open(path)?;
            let locked = match mode {
                Mode::Exclusive => file.try_lock(),
                Mode::Shared => file.try_lock_shared(),
            };
            match locked {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => return Ok(None),
                Err(TryLockError::Error(error)) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(TryLockError::Error(error)) => return Err(error),
            }
            let lock = Lock {
                file,
                path: path.to_owned(),
            };
            if lock.is_at_its_path()? {
                return Ok(Some(lock));
            }
        }
    }

    /// Takes a lock that is held for short times only, trying again until it is free or the run is cancelled.
    ///
    /// # Errors
    /// When the file cannot be made or opened; the inner one is why the run was cancelled.
    pub(crate) fn wait(path: &Path, mode: Mode, cancel: &Cancel) -> io::Result<Result<Lock, CancelReason>> {
        let mut pauses = iter::successors(Some(Duration::from_millis(1)), |pause| {
            Some((*pause * 2).min(POLL))
        });
        loop {
            if let Some(lock) = Lock::try_new(path, mode)? {
                return Ok(Ok(lock));
            }
            if let Some(reason) = cancel.sleep(pauses.next().unwrap_or(POLL)) {
                return Ok(Err(reason));
            }
        }
    }

    /// Removes the file and unlocks it; the lock must be exclusive.
    pub(crate) fn remove(self) {
        let _ = fs::remove_file(&self.path);
    }

    /// The open file, for its content and times.
    pub(crate) fn file(&self) -> &File {
        &self.file
    }

    /// Whether the file has not been removed or replaced since it was opened.
    fn is_at_its_path(&self) -> io::Result<bool> {
        let here = self.file.metadata()?;
        match fs::symlink_metadata(&self.path) {
            Ok(there) => Ok((here.dev(), here.ino()) == (there.dev(), there.ino())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // Closing is not enough: a child that is about to be started has a copy of the descriptor.
        let _ = self.file.unlock();
    }
}
