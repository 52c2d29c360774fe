//! The cache's folder: where things are, and which entries can be used.
//!
//! ```text
//! CACHEDIR.TAG      says that the folder is a cache and may be deleted
//! entries/KEY/      an entry: the build's files, `entry.json`, `stamp`
//! manifests/ID/     the inputs of a fixture's builds
//! locks/ID          locked while the fixture is built; locks/store while entries come or go
//! used/KEY          locked while the entry is in use; its time is when that last began
//! staging/          what is being made
//! digests.json      digests of files that have not changed since
//! ```
//!
//! Input: a key. Output: an [`Entry`] that is verified and in use, or why there is none. Not here: building
//! (`obtain`), making room (`tidy`), and telling about it (`status`).

use std::fs::{self, DirBuilder, Permissions};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use provium_base::cancel::{Cancel, CancelReason};

use crate::digest_cache::DigestCache;
use crate::entry::{Entry, RECORD, Record, STAMP};
use crate::error::FixtureError;
use crate::file_id::FolderId;
use crate::input::{self, ENTRY_FORMAT, Key};
use crate::lock::{Lock, Mode};
use crate::sealed;
use crate::staging::{self, Stage};
use crate::stamp::{Stamp, StampCheck, Verify};

/// Entries that may be built one on the other, in a row.
const MAX_DEPTH: usize = 64;
/// File that marks the folder as a cache, for backup programs as well (<https://bford.info/cachedir/>).
const TAG: &str = "CACHEDIR.TAG";
const TAG_TEXT: &str = "Signature: 8a477f597d28d172789f06886806bc55\n\
                        # Provium's fixtures; all of it can be built again. See https://bford.info/cachedir/\n";

/// The fixture cache in one folder.
#[derive(Debug)]
pub struct Store {
    pub(crate) dir: PathBuf,
    /// Bytes that the cache may take on the disk.
    pub(crate) max_size: u64,
    digests: Arc<DigestCache>,
}

/// Result of looking for an entry.
#[derive(Debug)]
pub(crate) enum Lookup {
    /// The entry, verified and in use.
    Valid(Entry),
    /// There is none.
    Missing,
    /// There is one that must not be used: why, and which folder it is.
    Invalid { why: String, folder: FolderId },
}

impl Store {
    /// The cache in `dir` without any change to it: nothing is made or removed before it is used.
    pub fn look(dir: &Path, max_size: u64) -> Store {
        let digests = DigestCache::open(dir.join("digests.json"), dir.join("staging"));
        Store {
            dir: dir.to_owned(),
            max_size,
            digests: Arc::new(digests),
        }
    }

    /// Digests of files that this cache remembers, for a [`ProjectWorld`](crate::ProjectWorld).
    pub fn digests(&self) -> &Arc<DigestCache> {
        &self.digests
    }

    /// Folder of the entries.
    pub(crate) fn entries(&self) -> PathBuf {
        self.dir.join("entries")
    }

    /// Folder of the manifests.
    pub(crate) fn manifests(&self) -> PathBuf {
        self.dir.join("manifests")
    }

    /// Folder in which things are made.
    pub(crate) fn staging(&self) -> PathBuf {
        self.dir.join("staging")
    }

    /// A folder for what a run keeps on the disk for itself; if the run is killed, the next one that uses the
    /// cache removes it.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn stage(&self) -> Result<Stage, FixtureError> {
        Stage::new(&self.staging())
    }

    /// Folder of the locks.
    pub(crate) fn locks(&self) -> PathBuf {
        self.dir.join("locks")
    }

    /// Folder of the entry with this key.
    pub(crate) fn entry_dir(&self, key: Key) -> PathBuf {
        self.entries().join(key.to_string())
    }

    /// Lock file of the entry with this name.
    pub(crate) fn used(&self, name: &str) -> PathBuf {
        self.dir.join("used").join(name)
    }

    /// Makes the folders that are not there. The cache's own is closed to everybody else: guests' memory is
    /// in it.
    ///
    /// # Errors
    /// When they cannot be made, or the cache's folder holds something else or is somebody else's.
    pub fn prepare(&self) -> Result<(), FixtureError> {
        let tag = self.dir.join(TAG);
        // In this order, for another process may be making both, the tag first.
        let filled = self.entries().exists();
        if !tag.exists() {
            if filled {
                return Err(FixtureError::NotACache(self.dir.clone()));
            }
            let made = DirBuilder::new().recursive(true).mode(0o700).create(&self.dir);
            made.map_err(FixtureError::io("making the fixture cache", &self.dir))?;
            fs::write(&tag, TAG_TEXT).map_err(FixtureError::io("writing", &tag))?;
        }
        self.close_to_others()?;
        for name in ["entries", "manifests", "locks", "used", "staging"] {
            let folder = self.dir.join(name);
            fs::create_dir_all(&folder).map_err(FixtureError::io("making", &folder))?;
        }
        Ok(())
    }

    /// Closes the cache's folder to everybody but its user.
    ///
    /// # Errors
    /// When that is not who runs this, or the mode cannot be set.
    pub(crate) fn close_to_others(&self) -> Result<(), FixtureError> {
        let found = fs::metadata(&self.dir).map_err(FixtureError::io("looking at", &self.dir))?;
        let user = rustix::process::geteuid().as_raw();
        if found.uid() != user {
            return Err(FixtureError::Foreign {
                path: self.dir.clone(),
                owner: found.uid(),
                user,
            });
        }
        if found.mode() & 0o077 == 0 {
            return Ok(());
        }
        let closed = Permissions::from_mode(found.mode() & 0o700);
        fs::set_permissions(&self.dir, closed).map_err(FixtureError::io("closing", &self.dir))
    }

    /// Takes the lock that is held while an entry is installed or removed.
    ///
    /// # Errors
    /// When it cannot be taken, or the run is cancelled.
    pub(crate) fn mutate(&self, cancel: &Cancel) -> Result<Lock, FixtureError> {
        let path = self.locks().join("store");
        let lock = Lock::wait(&path, Mode::Exclusive, cancel).map_err(FixtureError::io("locking", &path))?;
        lock.map_err(|reason| cancelled("store", reason))
    }

    /// Looks up the entry of a key and checks it, with all entries that it was built on.
    ///
    /// # Errors
    /// When a lock cannot be taken, or the run is cancelled.
    pub(crate) fn find(&self, key: Key, verify: Verify<'_>, cancel: &Cancel) -> Result<Lookup, FixtureError> {
        self.find_at(key, verify, cancel, 0)
    }

    fn find_at(
        &self,
        key: Key,
        verify: Verify<'_>,
        cancel: &Cancel,
        depth: usize,
    ) -> Result<Lookup, FixtureError> {
        let dir = self.entry_dir(key);
        if FolderId::at(&dir).is_none() {
            return Ok(Lookup::Missing);
        }
        let path = self.used(&key.to_string());
        let in_use = Lock::wait(&path, Mode::Shared, cancel).map_err(FixtureError::io("locking", &path))?;
        let in_use = in_use.map_err(|reason| cancelled(&key.0.short(), reason))?;
        let Some(folder) = FolderId::at(&dir) else {
            return Ok(Lookup::Missing); // evicted while we waited
        };
        let invalid = |why: String| Ok(Lookup::Invalid { why, folder });
        let record = match self.check(&dir, key, verify) {
            Ok(record) => record,
            Err(why) => return invalid(why),
        };
        if depth == MAX_DEPTH {
            return invalid(format!("it is built on more than {MAX_DEPTH} others"));
        }
        let mut parents = Vec::new();
        for parent in &record.parents {
            let name = &parent.name;
            match self.find_at(parent.key, verify, cancel, depth + 1)? {
                Lookup::Valid(entry) if entry.build_id() == parent.build_id => parents.push(entry),
                Lookup::Valid(_) => {
                    return invalid(format!("fixture `{name}`, which it starts from, was built again"));
                }
                Lookup::Missing => {
                    return invalid(format!("fixture `{name}`, which it starts from, is gone"));
                }
                Lookup::Invalid { why, .. } => {
                    return invalid(format!(
                        "fixture `{name}`, which it starts from, cannot be used: {why}"
                    ));
                }
            }
        }
        // When it was last used; a cache that cannot be written still serves.
        let _ = in_use.file().set_modified(std::time::SystemTime::now());
        Ok(Lookup::Valid(Entry::new(dir, record, parents, in_use)))
    }

    /// Checks that the entry's files are the installed ones, and gives its record.
    ///
    /// # Errors
    /// What is wrong, in words.
    fn check(&self, dir: &Path, key: Key, verify: Verify<'_>) -> Result<Record, String> {
        match Stamp::check(dir, verify) {
            StampCheck::Invalid(why) => return Err(why),
            StampCheck::Intact => {}
            StampCheck::Outdated(stamp) => {
                // Saves the closer look next time; a cache that cannot be written works without.
                if let Err(error) = sealed::write(&self.staging(), &dir.join(STAMP), &stamp) {
                    tracing::debug!("{} gets no new stamp: {error}", dir.display());
                }
            }
        }
        let record = read_record(dir)?;
        let digests = record.inputs.iter();
        let digests = digests
            .map(|recorded| (recorded.input.clone(), recorded.digest))
            .collect();
        if record.key != key || input::key(&digests) != key {
            return Err("it is the entry of another key".to_owned());
        }
        Ok(record)
    }

    /// Removes an entry that must not be used, unless another is in its place by now.
    ///
    /// # Errors
    /// When it cannot be removed, or the run is cancelled.
    pub(crate) fn discard(&self, key: Key, invalid: FolderId, cancel: &Cancel) -> Result<(), FixtureError> {
        let dir = self.entry_dir(key);
        let _mutate = self.mutate(cancel)?;
        if FolderId::at(&dir) == Some(invalid) {
            staging::discard(&self.staging(), &dir).map_err(FixtureError::io("removing", &dir))?;
        }
        Ok(())
    }
}

/// Reads the record of the entry in `dir`.
///
/// # Errors
/// What is wrong with it, in words.
pub(crate) fn read_record(dir: &Path) -> Result<Record, String> {
    let record: Record = match sealed::read(&dir.join(RECORD)) {
        Ok(Some(record)) => record,
        Ok(None) => return Err(format!("{RECORD} is missing")),
        Err(problem) => return Err(format!("{RECORD}: {problem}")),
    };
    match record.format {
        ENTRY_FORMAT => Ok(record),
        other => Err(format!(
            "it has format {other}, and this Provium writes {ENTRY_FORMAT}"
        )),
    }
}

/// Error for a run that was cancelled while it waited for `name`.
fn cancelled(name: &str, reason: CancelReason) -> FixtureError {
    FixtureError::Cancelled {
        name: name.to_owned(),
        reason,
    }
}
