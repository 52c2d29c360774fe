//! What a store does when it is opened: sweeps, and makes room.
//!
//! Enters: the cache's folder. Leaves: a cache in which every entry is readable and stands on parents that are
//! there, no larger than it may be. Entries go in the order of their last use, those built on an entry before it,
//! and none that is in use. Absent on purpose: looking at content; that is done when an entry is used.

use std::collections::BTreeMap;
use std::fs;
use std::time::{SystemTime, UNIX_EPOCH};

use super::entry::Record;
use super::error::FixtureError;
use super::event::Event;
use super::lock::{Lock, Mode};
use super::rootfs;
use super::staging;
use super::store::{Store, allocated, read_record};
use provium_base::cancel::Cancel;
use provium_base::units::DisplaySize;

/// An entry as a look at it shows it.
#[derive(Debug, Clone)]
pub(super) struct Resident {
    pub(super) record: Record,
    pub(super) bytes: u64,
    pub(super) last_used: SystemTime,
}

/// Entries by the name of their folder.
pub(super) type Residents = BTreeMap<String, Resident>;

/// An eviction did not happen, because the entry is in use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct InUse;

/// Sweeps and makes room.
pub(super) fn tidy(store: &Store, on_event: &mut dyn FnMut(Event)) -> Result<(), FixtureError> {
    let staging = store.staging();
    staging::sweep(&staging).map_err(FixtureError::io("sweeping", &staging))?;
    let (mut residents, strangers) = residents(store)?;
    for (name, why) in strangers {
        if evict(store, &name)?.is_none() {
            on_event(Event::Evicted {
                fixture: None,
                entry: name,
                why,
                warning: true,
            });
        }
    }
    while let Some((name, why)) = orphan(&residents) {
        let orphan = residents.remove(&name);
        if let Some(orphan) = orphan
            && evict(store, &name)?.is_none()
        {
            on_event(Event::Evicted {
                fixture: Some(orphan.record.name),
                entry: name,
                why,
                warning: false,
            });
        }
    }
    make_room(store, residents, on_event)
}

/// The entries, and what lies among them without being one.
pub(super) fn residents(store: &Store) -> Result<(Residents, Vec<(String, String)>), FixtureError> {
    let entries = store.entries();
    let error = FixtureError::io("reading", &entries);
    let (mut residents, mut strangers) = (BTreeMap::new(), Vec::new());
    let listing = match fs::read_dir(&entries) {
        Ok(listing) => listing,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok((residents, strangers)),
        Err(source) => return Err(error(source)),
    };
    for entry in listing.flatten() {
        let (name, dir) = (entry.file_name().to_string_lossy().into_owned(), entry.path());
        match read_record(&dir) {
            Ok(record) if record.key.to_string() == name => {
                let resident = Resident {
                    bytes: allocated(&dir),
                    last_used: last_used(store, &name),
                    record,
                };
                residents.insert(name, resident);
            }
            Ok(_) => strangers.push((name, "it is the entry of another key".to_owned())),
            Err(_) if !dir.exists() && fs::symlink_metadata(&dir).is_err() => {} // evicted meanwhile
            Err(why) => strangers.push((name, why)),
        }
    }
    Ok((residents, strangers))
}

fn last_used(store: &Store, name: &str) -> SystemTime {
    let used = fs::metadata(store.used(name)).and_then(|metadata| metadata.modified());
    used.unwrap_or(UNIX_EPOCH)
}

/// An entry that can never be used again, because one that it was built on is gone.
fn orphan(residents: &Residents) -> Option<(String, String)> {
    residents.iter().find_map(|(name, resident)| {
        let lost = resident.record.parents.iter().find(|parent| {
            let there = residents.get(&parent.key.to_string());
            there.is_none_or(|there| there.record.build_id != parent.build_id)
        })?;
        let why = format!(
            "fixture `{}`, which it starts from, is gone or was built again",
            lost.name
        );
        Some((name.clone(), why))
    })
}

/// What can be evicted: by when it was used last, an entry or an image of a rootfs folder.
type ByAge = Vec<(SystemTime, Evictable)>;

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Evictable {
    Entry { name: String },
    Image { key: String, bytes: u64 },
}

fn make_room(
    store: &Store,
    mut residents: Residents,
    on_event: &mut dyn FnMut(Event),
) -> Result<(), FixtureError> {
    let images = rootfs::cached_images(&store.dir);
    let entries = residents.values().map(|resident| resident.bytes);
    let mut total: u64 = entries.chain(images.iter().map(|image| image.bytes)).sum();
    let entries = residents.iter().map(|(name, resident)| {
        let name = name.clone();
        (resident.last_used, Evictable::Entry { name })
    });
    let images = images.into_iter().map(|image| {
        let (key, bytes) = (image.key, image.bytes);
        (image.last_used, Evictable::Image { key, bytes })
    });
    let mut by_age: ByAge = entries.chain(images).collect();
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
                let (gone, _) = evict_family(store, &mut residents, &name)?;
                for resident in gone {
                    total -= resident.bytes.min(total);
                    on_event(Event::Evicted {
                        entry: resident.record.key.to_string(),
                        fixture: Some(resident.record.name),
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
                    on_event(Event::Evicted {
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

/// Evicts what was built on the entry, then the entry; what is in use stays, with what it stands on.
pub(super) fn evict_family(
    store: &Store,
    residents: &mut Residents,
    name: &str,
) -> Result<(Vec<Resident>, Option<InUse>), FixtureError> {
    let children: Vec<_> = residents
        .iter()
        .filter(|(_, resident)| {
            let mut parents = resident.record.parents.iter();
            parents.any(|parent| parent.key.to_string() == name)
        })
        .map(|(name, _)| name.clone())
        .collect();
    let (mut gone, mut kept) = (Vec::new(), None);
    for child in children.iter().filter(|child| *child != name) {
        let (with, stays) = evict_family(store, residents, child)?;
        gone.extend(with);
        kept = kept.or(stays);
    }
    if kept.is_none() && residents.contains_key(name) {
        kept = evict(store, name)?;
        if kept.is_none() {
            gone.extend(residents.remove(name));
        }
    }
    Ok((gone, kept))
}

/// Removes what has that name among the entries, unless it is in use.
fn evict(store: &Store, name: &str) -> Result<Option<InUse>, FixtureError> {
    let path = store.used(name);
    let _mutate = store.mutate(&Cancel::new())?;
    let Some(alone) = Lock::try_new(&path, Mode::Exclusive).map_err(FixtureError::io("locking", &path))?
    else {
        return Ok(Some(InUse));
    };
    let dir = store.entries().join(name);
    match staging::discard(&store.staging(), &dir) {
        Ok(()) => {}
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) => return Err(FixtureError::io("removing", &dir)(error)),
    }
    alone.remove();
    Ok(None)
}
