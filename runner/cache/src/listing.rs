//! The entries in the cache's folder.
//!
//! Input: a [`Store`]. Output: a [`ListedEntry`] for each entry, and the names of what lies among them
//! without being one. Not here: whether an entry's files are intact; that is checked when an entry is used.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::disk::allocated;
use crate::entry::Record;
use crate::error::FixtureError;
use crate::store::{Store, read_record};

/// What a listing knows of an entry.
#[derive(Debug, Clone)]
pub(crate) struct ListedEntry {
    pub(crate) record: Record,
    /// Bytes that it takes on the disk.
    pub(crate) bytes: u64,
    pub(crate) last_used: SystemTime,
}

/// All entries, by the name of their folder: the key in hexadecimal.
pub(crate) type EntryList = BTreeMap<String, ListedEntry>;

/// Lists the entries, and the names among them that cannot be used, each with the reason.
///
/// # Errors
/// When the folder of the entries is there but cannot be read.
pub(crate) fn list_entries(store: &Store) -> Result<(EntryList, Vec<(String, String)>), FixtureError> {
    let folder = store.entries();
    let (mut entries, mut unusable) = (BTreeMap::new(), Vec::new());
    let listing = match fs::read_dir(&folder) {
        Ok(listing) => listing,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok((entries, unusable)),
        Err(error) => return Err(FixtureError::io("reading", &folder)(error)),
    };
    for entry in listing.flatten() {
        let (name, dir) = (entry.file_name().to_string_lossy().into_owned(), entry.path());
        match read_record(&dir) {
            Ok(record) if record.key.to_string() == name => {
                let listed = ListedEntry {
                    bytes: allocated(&dir),
                    last_used: last_used(store, &name),
                    record,
                };
                entries.insert(name, listed);
            }
            Ok(_) => unusable.push((name, "it is the entry of another key".to_owned())),
            Err(_) if !dir.exists() && fs::symlink_metadata(&dir).is_err() => {} // evicted meanwhile
            Err(why) => unusable.push((name, why)),
        }
    }
    Ok((entries, unusable))
}

fn last_used(store: &Store, name: &str) -> SystemTime {
    let used = fs::metadata(store.used(name)).and_then(|metadata| metadata.modified());
    used.unwrap_or(UNIX_EPOCH)
}
