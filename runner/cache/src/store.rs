//! The cache's folder: where things are, and which entries are sound.
//!
//! ```text
//! CACHEDIR.TAG      says that the folder is a cache and may be deleted
//! entries/KEY/      an entry: the build's files, `entry.json`, `stamp`
//! manifests/ID/     what the builds of a fixture took in
//! locks/ID          held while the fixture is built; locks/store while entries come or go
//! used/KEY          held while the entry is in use; its time is when that last began
//! staging/          what is being made
//! digests.json      digests of files that have not changed since
//! ```
//!
//! Enters: a key. Leaves: an [`Entry`] that is sound and in use, or why there is none. Absent on purpose: building
//! (`obtain`), making room (`tidy`), and telling about it (`status`).

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::Verify;
use super::digest_cache::DigestCache;
use super::entry::{Entry, RECORD, Record, STAMP};
use super::error::FixtureError;
use super::event::Event;
use super::input::{self, ENTRY_FORMAT, Key};
use super::lock::{Lock, Mode};
use super::staging;
use super::stamp::{Check, Stamp};
use super::{sealed, tidy};
use provium_base::cancel::{Cancel, CancelReason};

/// Entries that may be built one on the other.
const DEEPEST: usize = 64;
const TAG: &str = "CACHEDIR.TAG";
const TAG_TEXT: &str = "Signature: 8a477f597d28d172789f06886806bc55\n\
                        # Provium's fixtures; all of it can be built again. See https://bford.info/cachedir/\n";

/// The fixture cache.
#[derive(Debug)]
pub struct Store {
    pub(super) dir: PathBuf,
    pub(super) max_size: u64,
    digests: Arc<DigestCache>,
}

/// What is in an entry's place.
#[derive(Debug)]
pub(super) enum Found {
    /// The entry, sound and in use.
    Sound(Entry),
    /// Nothing.
    Missing,
    /// Something that must not be used.
    Bad { why: String, place: Place },
}

/// A folder that was looked at, so that no other is removed in its stead.
pub(super) type Place = (u64, u64);

impl Store {
    /// Opens or makes the cache in `dir`: removes what dead builders left and what cannot be used, and makes room
    /// when it holds more than `max_size` bytes.
    ///
    /// # Errors
    /// When the folder cannot be made or written, or holds something else.
    pub fn open(dir: &Path, max_size: u64, on_event: &mut dyn FnMut(Event)) -> Result<Store, FixtureError> {
        let store = Store::look(dir, max_size);
        store.tidy(on_event)?;
        Ok(store)
    }

    /// Does what [`Store::open`] does, to a store that was only looked at.
    ///
    /// # Errors
    /// Those of [`Store::open`].
    pub fn tidy(&self, on_event: &mut dyn FnMut(Event)) -> Result<(), FixtureError> {
        self.prepare()?;
        tidy::tidy(self, on_event)
    }

    /// The cache in `dir` as it is; nothing is made or removed until it is used.
    pub fn look(dir: &Path, max_size: u64) -> Store {
        let digests = DigestCache::open(dir.join("digests.json"), dir.join("staging"));
        Store {
            dir: dir.to_owned(),
            max_size,
            digests: Arc::new(digests),
        }
    }

    /// The digests of files that this cache remembers, for a [`World`](super::World).
    pub fn digests(&self) -> &Arc<DigestCache> {
        &self.digests
    }

    pub(super) fn entries(&self) -> PathBuf {
        self.dir.join("entries")
    }

    pub(super) fn manifests(&self) -> PathBuf {
        self.dir.join("manifests")
    }

    pub(super) fn staging(&self) -> PathBuf {
        self.dir.join("staging")
    }

    pub(super) fn locks(&self) -> PathBuf {
        self.dir.join("locks")
    }

    pub(super) fn entry_dir(&self, key: Key) -> PathBuf {
        self.entries().join(key.to_string())
    }

    pub(super) fn used(&self, name: &str) -> PathBuf {
        self.dir.join("used").join(name)
    }

    /// Makes the folders that are not there.
    pub(super) fn prepare(&self) -> Result<(), FixtureError> {
        let tag = self.dir.join(TAG);
        // In this order, for another process may be making both, the tag first.
        let filled = self.entries().exists();
        if !tag.exists() {
            if filled {
                return Err(FixtureError::NotACache(self.dir.clone()));
            }
            fs::create_dir_all(&self.dir).map_err(FixtureError::io("making the fixture cache", &self.dir))?;
            fs::write(&tag, TAG_TEXT).map_err(FixtureError::io("writing", &tag))?;
        }
        for name in ["entries", "manifests", "locks", "used", "staging"] {
            let folder = self.dir.join(name);
            fs::create_dir_all(&folder).map_err(FixtureError::io("making", &folder))?;
        }
        Ok(())
    }

    /// Held while entries come or go.
    pub(super) fn mutate(&self, cancel: &Cancel) -> Result<Lock, FixtureError> {
        let path = self.locks().join("store");
        let lock = Lock::wait(&path, Mode::Exclusive, cancel).map_err(FixtureError::io("locking", &path))?;
        lock.map_err(|reason| cancelled("store", reason))
    }

    /// The entry of that key, checked with all that it was built on.
    pub(super) fn find(&self, key: Key, verify: Verify<'_>, cancel: &Cancel) -> Result<Found, FixtureError> {
        self.find_at(key, verify, cancel, 0)
    }

    fn find_at(
        &self,
        key: Key,
        verify: Verify<'_>,
        cancel: &Cancel,
        depth: usize,
    ) -> Result<Found, FixtureError> {
        let dir = self.entry_dir(key);
        if place(&dir).is_none() {
            return Ok(Found::Missing);
        }
        let path = self.used(&key.to_string());
        let in_use = Lock::wait(&path, Mode::Shared, cancel).map_err(FixtureError::io("locking", &path))?;
        let in_use = in_use.map_err(|reason| cancelled(&key.0.short(), reason))?;
        let Some(place) = place(&dir) else {
            return Ok(Found::Missing); // evicted while we waited
        };
        let bad = |why: String| Ok(Found::Bad { why, place });
        let record = match self.check(&dir, key, verify) {
            Ok(record) => record,
            Err(why) => return bad(why),
        };
        if depth == DEEPEST {
            return bad(format!("it is built on more than {DEEPEST} others"));
        }
        let mut parents = Vec::new();
        for parent in &record.parents {
            let name = &parent.name;
            match self.find_at(parent.key, verify, cancel, depth + 1)? {
                Found::Sound(entry) if entry.build_id() == parent.build_id => parents.push(entry),
                Found::Sound(_) => {
                    return bad(format!("fixture `{name}`, which it starts from, was built again"));
                }
                Found::Missing => return bad(format!("fixture `{name}`, which it starts from, is gone")),
                Found::Bad { why, .. } => {
                    return bad(format!(
                        "fixture `{name}`, which it starts from, cannot be used: {why}"
                    ));
                }
            }
        }
        // When it was last used; a cache that cannot be written still serves.
        let _ = in_use.file().set_modified(std::time::SystemTime::now());
        Ok(Found::Sound(Entry::new(dir, record, parents, in_use)))
    }

    /// The entry's record once its files were found to be the ones that were installed, or what is wrong.
    fn check(&self, dir: &Path, key: Key, verify: Verify<'_>) -> Result<Record, String> {
        match Stamp::check(dir, verify) {
            Check::Bad(why) => return Err(why),
            Check::Sound => {}
            Check::Moved(stamp) => {
                // Next time the short look is enough; where it cannot be written, the long one works too.
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

    /// Removes an entry that must not be used, unless another has taken its place.
    pub(super) fn discard(&self, key: Key, bad: Place, cancel: &Cancel) -> Result<(), FixtureError> {
        let dir = self.entry_dir(key);
        let _mutate = self.mutate(cancel)?;
        if place(&dir) == Some(bad) {
            staging::discard(&self.staging(), &dir).map_err(FixtureError::io("removing", &dir))?;
        }
        Ok(())
    }
}

/// Reads what an entry says of itself.
pub(super) fn read_record(dir: &Path) -> Result<Record, String> {
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

/// What is at a path right now.
pub(super) fn place(path: &Path) -> Option<Place> {
    let metadata = fs::symlink_metadata(path).ok()?;
    Some((metadata.dev(), metadata.ino()))
}

/// What the files below a path take on the disk.
pub(super) fn allocated(path: &Path) -> u64 {
    let files = walkdir::WalkDir::new(path).into_iter().flatten();
    files
        .filter_map(|file| file.metadata().ok())
        .map(|metadata| metadata.blocks() * 512)
        .sum()
}

pub(super) fn sync_dir(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

pub(super) fn cancelled(name: &str, reason: CancelReason) -> FixtureError {
    FixtureError::Cancelled {
        name: name.to_owned(),
        reason,
    }
}
