//! What a store does when it is opened: it removes what cannot be used, and makes room.
//!
//! Input: the cache's folder. Output: a cache in which every entry has a readable record and all entries that
//! it was built on, and whose size is at most the limit. Entries and disk images go in the order of their
//! last use, an entry's dependents before it, and none that is in use. Not here: checking content; that is
//! done when an entry is used.

use std::path::Path;
use std::time::SystemTime;

use provium_base::events::{FixtureEvent, Sink};
use provium_base::units::DisplaySize;

use crate::error::FixtureError;
use crate::evict::{evict, evict_with_dependents};
use crate::listing::{EntryList, list_entries};
use crate::rootfs;
use crate::staging;
use crate::store::Store;

impl Store {
    /// Opens or makes the cache in `dir`: removes what dead builders left and what cannot be used, and evicts
    /// entries when it holds more than `max_size` bytes.
    ///
    /// # Errors
    /// When the folder cannot be made or written, or is not a cache.
    pub fn open(dir: &Path, max_size: u64, sink: &dyn Sink) -> Result<Store, FixtureError> {
        let store = Store::look(dir, max_size);
        store.tidy(sink)?;
        Ok(store)
    }

    /// Does the work of [`Store::open`] on a store from [`Store::look`].
    ///
    /// # Errors
    /// Those of [`Store::open`].
    pub fn tidy(&self, sink: &dyn Sink) -> Result<(), FixtureError> {
        self.prepare()?;
        let staging = self.staging();
        staging::sweep(&staging).map_err(FixtureError::io("sweeping", &staging))?;
        let (mut entries, unusable) = list_entries(self)?;
        for (name, why) in unusable {
            if evict(self, &name)?.is_none() {
                sink.emit(FixtureEvent::Evicted {
                    fixture: None,
                    entry: name,
                    why,
                    warning: true,
                });
            }
        }
        while let Some((name, why)) = orphan(&entries) {
            let orphan = entries.remove(&name);
            if let Some(orphan) = orphan
                && evict(self, &name)?.is_none()
            {
                sink.emit(FixtureEvent::Evicted {
                    fixture: Some(orphan.record.name),
                    entry: name,
                    why,
                    warning: false,
                });
            }
        }
        make_room(self, entries, sink)
    }
}

/// Name of an entry that can never be used again, because one that it was built on is gone; and the reason in
/// words.
fn orphan(entries: &EntryList) -> Option<(String, String)> {
    entries.iter().find_map(|(name, entry)| {
        let lost = entry.record.parents.iter().find(|parent| {
            let there = entries.get(&parent.key.to_string());
            there.is_none_or(|there| there.record.build_id != parent.build_id)
        })?;
        let why = format!(
            "fixture `{}`, which it starts from, is gone or was built again",
            lost.name
        );
        Some((name.clone(), why))
    })
}

/// What can be evicted, with the time of its last use.
type ByAge = Vec<(SystemTime, Evictable)>;

/// An entry, or a disk image made of a rootfs folder.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Evictable {
    Entry { name: String },
    Image { key: String, bytes: u64 },
}

/// Evicts the least recently used until the cache is at most as large as it may be.
fn make_room(store: &Store, mut entries: EntryList, sink: &dyn Sink) -> Result<(), FixtureError> {
    let images = rootfs::cached_images(&store.dir);
    let sizes = entries.values().map(|entry| entry.bytes);
    let mut total: u64 = sizes.chain(images.iter().map(|image| image.bytes)).sum();
    let by_use = entries.iter().map(|(name, entry)| {
        let name = name.clone();
        (entry.last_used, Evictable::Entry { name })
    });
    let images = images.into_iter().map(|image| {
        let (key, bytes) = (image.key, image.bytes);
        (image.last_used, Evictable::Image { key, bytes })
    });
    let mut by_age: ByAge = by_use.chain(images).collect();
    by_age.sort();
    let why = |what: &str| {
        let most = DisplaySize(store.max_size);
        format!("{what}the least used, and the cache holds more than {most} (`cache_max_size`)")
    };
    for (_, evictable) in by_age {
        if total <= store.max_size {
            break;
        }
        match evictable {
            Evictable::Entry { name } => {
                let (gone, _) = evict_with_dependents(store, &mut entries, &name)?;
                for entry in gone {
                    total -= entry.bytes.min(total);
                    sink.emit(FixtureEvent::Evicted {
                        entry: entry.record.key.to_string(),
                        fixture: Some(entry.record.name),
                        why: why(""),
                        warning: false,
                    });
                }
            }
            Evictable::Image { key, bytes } => {
                let folder = store.dir.join("rootfs");
                let gone = rootfs::evict(&store.dir, &key);
                if gone.map_err(FixtureError::io("removing an image from", &folder))? {
                    total -= bytes.min(total);
                    sink.emit(FixtureEvent::Evicted {
                        entry: key,
                        fixture: None,
                        why: why("an image of a rootfs folder, "),
                        warning: false,
                    });
                }
            }
        }
    }
    Ok(())
}
