//! Noticing that files have changed.
//!
//! Input: folders, and which files in them can matter. Output: sets of files whose content has changed, a
//! burst of changes as one. Not here: what a change touches.
//!
//! Folders are watched one by one, so that `target` and the like are not; what has the content that it had
//! before is no change, whoever wrote it.

use std::collections::hash_map::DefaultHasher;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::hash::Hasher;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use notify::event::{AccessKind, AccessMode};
use notify::{EventKind, RecommendedWatcher, RecursiveMode, Watcher};
use parking_lot::Mutex;
use provium_base::walk::is_searched;
use walkdir::WalkDir;

/// How long there has to be quiet after a change: an editor writes a file in several steps.
const QUIET: Duration = Duration::from_millis(10);
/// How long changes that never end are collected.
const LONGEST: Duration = Duration::from_millis(300);
/// Size of a file, in bytes, up to which its content is looked at.
const READ: u64 = 1 << 20;

/// Watches folders for as long as it lives.
pub(super) struct Changes {
    watcher: RecommendedWatcher,
    watched: BTreeSet<PathBuf>,
    known: Arc<Mutex<Known>>,
}

/// Whether a change of a file can matter.
pub(super) type Matters = dyn Fn(&Path) -> bool + Send;

/// What files looked like.
#[derive(Default)]
struct Known(BTreeMap<PathBuf, Option<u64>>);

impl Known {
    /// Takes note of a file as it is; says whether it is another than before.
    fn look(&mut self, path: &Path) -> bool {
        let now = fingerprint(path);
        self.0.insert(path.to_owned(), now) != Some(now)
    }
}

/// A number for the content of a file; none if it is not there.
fn fingerprint(path: &Path) -> Option<u64> {
    let metadata = fs::metadata(path).ok()?;
    let mut hasher = DefaultHasher::new();
    hasher.write_u64(metadata.len());
    let mut content = Vec::new();
    let small = metadata.is_file() && metadata.len() <= READ;
    let read = small.then(|| File::open(path).and_then(|file| file.take(READ).read_to_end(&mut content)));
    match read {
        Some(Ok(_)) => hasher.write(&content),
        _ => {
            let modified = metadata.modified().ok();
            let since = modified.and_then(|modified| modified.duration_since(std::time::UNIX_EPOCH).ok());
            hasher.write_u128(since.unwrap_or_default().as_nanos());
        }
    }
    Some(hasher.finish())
}

impl Changes {
    /// Begins to watch; `changed` hears of files that have changed and `matter`.
    ///
    /// # Errors
    /// When the system cannot watch.
    pub(super) fn begin(
        matter: Box<Matters>,
        changed: impl Fn(BTreeSet<PathBuf>) + Send + 'static,
    ) -> anyhow::Result<Changes> {
        let (sender, events) = mpsc::channel();
        let watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
            // One that cannot be told is one that was missed; the next change of the file comes through.
            if let Ok(event) = event
                && is_change(&event.kind)
            {
                event.paths.into_iter().for_each(|path| drop(sender.send(path)));
            }
        })?;
        let known = Arc::<Mutex<Known>>::default();
        let look = Arc::clone(&known);
        thread::Builder::new().name("changes".into()).spawn(move || {
            while let Some(burst) = burst(&events) {
                let mut known = look.lock();
                let of_burst = burst.into_iter().filter(|path| path.is_dir() || matter(path));
                let found: BTreeSet<PathBuf> = of_burst
                    .filter(|path| path.is_dir() || known.look(path))
                    .collect();
                drop(known);
                if !found.is_empty() {
                    changed(found);
                }
            }
        })?;
        Ok(Changes {
            watcher,
            watched: BTreeSet::new(),
            known,
        })
    }

    /// Watches these folders with all in them that are searched for tests, and the folders of these files.
    ///
    /// # Errors
    /// When the system cannot watch so many.
    pub(super) fn watch(&mut self, roots: &[PathBuf], files: &BTreeSet<PathBuf>) -> anyhow::Result<()> {
        let mut folders: BTreeSet<PathBuf> = BTreeSet::new();
        let mut known = self.known.lock();
        // In a folder that is watched already, an event tells of each change.
        let watched = &self.watched;
        let mut first_look = |path: &Path| {
            if !path.parent().is_some_and(|folder| watched.contains(folder)) {
                known.look(path);
            }
        };
        for root in roots {
            let walk = WalkDir::new(root).into_iter().filter_entry(is_searched).flatten();
            for entry in walk {
                if entry.file_type().is_dir() {
                    folders.insert(entry.into_path());
                } else if entry
                    .path()
                    .extension()
                    .is_some_and(|extension| extension == "lua")
                {
                    first_look(entry.path());
                }
            }
        }
        for file in files {
            first_look(file);
            // A root file system may be a folder.
            if file.is_dir() {
                folders.insert(file.clone());
            }
            folders.extend(file.parent().map(Path::to_owned));
        }
        drop(known);
        for folder in folders {
            if !self.watched.contains(&folder) && folder.is_dir() {
                let watched = self.watcher.watch(&folder, RecursiveMode::NonRecursive);
                watched.map_err(|error| anyhow::anyhow!("cannot watch {}: {error}", folder.display()))?;
                self.watched.insert(folder);
            }
        }
        // One that is gone may come again.
        self.watched.retain(|folder| folder.is_dir());
        Ok(())
    }
}

/// Whether something was written, made, renamed or removed, and not only read.
fn is_change(kind: &EventKind) -> bool {
    match kind {
        EventKind::Access(AccessKind::Close(AccessMode::Write)) => true,
        EventKind::Access(_) => false,
        _ => true,
    }
}

/// The paths of a burst of events; nothing once there is nobody to send any.
fn burst(events: &Receiver<PathBuf>) -> Option<BTreeSet<PathBuf>> {
    let mut paths = BTreeSet::from([events.recv().ok()?]);
    let begun = Instant::now();
    while begun.elapsed() < LONGEST {
        match events.recv_timeout(QUIET) {
            Ok(path) => drop(paths.insert(path)),
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => break,
        }
    }
    Some(paths)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_is_told_once_and_what_is_as_it_was_is_none() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = |name: &str| folder.path().join(name);
        for name in ["a.lua", "b.txt", "c.lua"] {
            fs::write(path(name), "old").expect("write");
        }
        let (sender, told) = mpsc::channel();
        let lua = |path: &Path| path.extension().is_some_and(|extension| extension == "lua");
        let mut changes =
            Changes::begin(Box::new(lua), move |paths| drop(sender.send(paths))).expect("inotify");
        changes
            .watch(&[folder.path().to_owned()], &BTreeSet::new())
            .expect("inotify");
        fs::write(path("c.lua"), "old").expect("write");
        fs::write(path("b.txt"), "new").expect("write");
        fs::write(path("a.lua"), "new").expect("write");
        let mut paths = told.recv().expect("a change");
        if !paths.contains(&path("a.lua")) {
            // The truncated file may have been seen on its own.
            paths = told.recv().expect("a change");
        }
        assert_eq!(paths, BTreeSet::from([path("a.lua")]));
        fs::rename(path("c.lua"), path("d.lua")).expect("rename");
        let mut paths = told.recv().expect("a change");
        while paths.len() < 2 {
            paths.extend(told.recv().expect("a change"));
        }
        assert!(
            paths.contains(&path("c.lua")) && paths.contains(&path("d.lua")),
            "{paths:?}"
        );
    }
}
