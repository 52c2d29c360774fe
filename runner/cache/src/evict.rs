//! Removal of entries that are not in use.
//!
//! Input: an entry's name. Output: the entry is gone, or [`InUse`]. Not here: which entries should go
//! (`tidy`, `status`).

use std::io;

use provium_base::cancel::Cancel;

use crate::error::FixtureError;
use crate::listing::{EntryList, ListedEntry};
use crate::lock::{Lock, Mode};
use crate::staging;
use crate::store::Store;

/// An entry was not evicted, because it is in use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct InUse;

/// Evicts every entry that was built on this one, then the entry itself. Entries in use stay, with the
/// entries they were built on. What was evicted is taken out of `entries` and returned.
///
/// # Errors
/// When an entry cannot be locked or removed.
pub(crate) fn evict_with_dependents(
    store: &Store,
    entries: &mut EntryList,
    name: &str,
) -> Result<(Vec<ListedEntry>, Option<InUse>), FixtureError> {
    let dependents: Vec<_> = entries
        .iter()
        .filter(|(_, entry)| {
            let mut parents = entry.record.parents.iter();
            parents.any(|parent| parent.key.to_string() == name)
        })
        .map(|(name, _)| name.clone())
        .collect();
    let (mut evicted, mut in_use) = (Vec::new(), None);
    for dependent in dependents.iter().filter(|dependent| *dependent != name) {
        let (gone, stays) = evict_with_dependents(store, entries, dependent)?;
        evicted.extend(gone);
        in_use = in_use.or(stays);
    }
    if in_use.is_none() && entries.contains_key(name) {
        in_use = evict(store, name)?;
        if in_use.is_none() {
            evicted.extend(entries.remove(name));
        }
    }
    Ok((evicted, in_use))
}

/// Removes what has this name in the folder of the entries, unless it is in use.
///
/// # Errors
/// When it cannot be locked or removed.
pub(crate) fn evict(store: &Store, name: &str) -> Result<Option<InUse>, FixtureError> {
    let path = store.used(name);
    let _mutate = store.mutate(&Cancel::new())?;
    let Some(exclusive) =
        Lock::try_new(&path, Mode::Exclusive).map_err(FixtureError::io("locking", &path))?
    else {
        return Ok(Some(InUse));
    };
    let dir = store.entries().join(name);
    match staging::discard(&store.staging(), &dir) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(FixtureError::io("removing", &dir)(error)),
    }
    exclusive.remove();
    Ok(None)
}
