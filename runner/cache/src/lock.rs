//! Locks on files, between processes and within one.
//!
//! Enters: a path. Leaves: a [`Lock`], which ends when it is dropped or its process dies, however it dies. A lock
//! file may be removed by whoever holds it alone: taking a lock looks whether the file is still the one at its path.
//! Absent on purpose: who holds it (`holder`) and waiting without end.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use provium_base::cancel::{Cancel, CancelReason};

/// How often a waiter tries again.
pub(super) const POLL: Duration = Duration::from_millis(50);

/// A file that is locked.
#[derive(Debug)]
pub(super) struct Lock {
    file: File,
    path: PathBuf,
}

/// Alone or with others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    Exclusive,
    Shared,
}

impl Lock {
    /// Takes the lock if nobody is in the way.
    pub(super) fn try_new(path: &Path, mode: Mode) -> io::Result<Option<Lock>> {
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

    /// Takes a lock that nobody holds for long.
    pub(super) fn wait(path: &Path, mode: Mode, cancel: &Cancel) -> io::Result<Result<Lock, CancelReason>> {
        let mut pause = Duration::from_millis(1);
        loop {
            if let Some(lock) = Lock::try_new(path, mode)? {
                return Ok(Ok(lock));
            }
            if let Some(reason) = cancel.sleep(pause) {
                return Ok(Err(reason));
            }
            pause = (pause * 2).min(POLL);
        }
    }

    /// Removes the file; the lock must be exclusive.
    pub(super) fn remove(self) {
        let _ = fs::remove_file(&self.path);
    }

    pub(super) fn file(&self) -> &File {
        &self.file
    }

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
