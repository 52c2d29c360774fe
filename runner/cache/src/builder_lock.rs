//! The lock under which a fixture is built, and the waits for it.
//!
//! Input: a fixture and the [`Chain`] of builds that asks for it. Output: a [`BuilderLock`], or a wait that
//! names the lock's holder and ends with the holder's death. A builder that waits for a second fixture writes
//! that into its first one's lock file, so that two builders that wait for each other are found to be a
//! cycle. Not here: any trust in what a lock file says; that is a message to people, and only the lock itself
//! keeps builders apart.

use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use provium_base::cancel::Cancel;
use provium_base::events::{FixtureEvent, Sink};

use crate::error::FixtureError;
use crate::holder::Holder;
use crate::lock::{Lock, Mode, POLL};
use crate::source::FixtureSource;

/// How long a lock file may stay without its holder's name before the wait is reported without one.
const UNNAMED_WAIT: Duration = Duration::from_secs(1);
/// Fixtures that may wait for each other in a row.
const MAX_DEPTH: usize = 64;

/// Exclusive lock under which one fixture is built.
#[derive(Debug)]
pub(crate) struct BuilderLock {
    lock: Lock,
    /// What the lock file says, once [`BuilderLock::announce`] has written it.
    holder: Mutex<Holder>,
}

impl BuilderLock {
    /// Writes the holder into the lock file. A failure, such as a full disk, loses the message only.
    pub(crate) fn announce(&self) {
        self.write(&self.holder.lock());
    }

    /// Writes which fixture, by lock and name, the holder waits for itself.
    fn wait_for(&self, what: Option<(String, String)>) {
        let mut holder = self.holder.lock();
        holder.waits_for = what;
        self.write(&holder);
    }

    fn write(&self, holder: &Holder) {
        let bytes = serde_json::to_vec(holder).unwrap_or_default();
        let _ = self.lock.file().set_len(0);
        let _ = self.lock.file().write_all_at(&bytes, 0);
    }
}

impl Drop for BuilderLock {
    fn drop(&mut self) {
        let _ = self.lock.file().set_len(0);
    }
}

/// The running builds that a request is part of, outermost first; empty for a request from a test.
#[derive(Debug, Clone, Default)]
pub struct Chain(Vec<Link>);

/// One build of a chain.
#[derive(Debug, Clone)]
struct Link {
    id: String,
    name: String,
    lock: Weak<BuilderLock>,
}

impl Chain {
    /// Names of the fixtures, outermost first.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|link| link.name.as_str())
    }

    /// This chain with one more build at its end.
    pub(crate) fn with(&self, source: &FixtureSource, lock: &Arc<BuilderLock>) -> Chain {
        let link = Link {
            id: source.id(),
            name: source.name.clone(),
            lock: Arc::downgrade(lock),
        };
        Chain(self.0.iter().cloned().chain([link]).collect())
    }

    /// Refuses a fixture that is in the chain already.
    ///
    /// # Errors
    /// [`FixtureError::Cycle`].
    pub(crate) fn check(&self, source: &FixtureSource) -> Result<(), FixtureError> {
        match self.0.iter().position(|link| link.id == source.id()) {
            None => Ok(()),
            Some(at) => Err(self.cycle(at, [source.name.as_str()])),
        }
    }

    /// Error for the cycle from the link at `at` through the rest of the chain and `onward`.
    fn cycle<'a>(&'a self, at: usize, onward: impl IntoIterator<Item = &'a str>) -> FixtureError {
        let names: Vec<_> = self.names().skip(at).chain(onward).collect();
        FixtureError::Cycle(names.join(" → "))
    }

    /// The cycle, if the fixture's holder waits, directly or not, for a build of this chain.
    fn deadlock(&self, locks: &Path, source: &FixtureSource) -> Option<FixtureError> {
        let (mut id, mut onward) = (source.id(), vec![source.name.clone()]);
        for _ in 0..MAX_DEPTH {
            let (next, name) = Holder::read(&locks.join(&id))?.waits_for?;
            onward.push(name);
            if let Some(at) = self.0.iter().position(|link| link.id == next) {
                return Some(self.cycle(at, onward.iter().map(String::as_str)));
            }
            id = next;
        }
        None
    }

    /// Writes into the innermost build's lock file which fixture it waits for.
    fn wait_for(&self, what: Option<&FixtureSource>) {
        if let Some(lock) = self.0.last().and_then(|link| link.lock.upgrade()) {
            lock.wait_for(what.map(|source| (source.id(), source.name.clone())));
        }
    }
}

/// Takes the fixture's lock. While another holds it, [`FixtureEvent::Waiting`] names the holder, once and
/// again when the holder changes.
///
/// # Errors
/// [`FixtureError`] when the run is cancelled, when the wait would be a cycle, or when the lock file cannot
/// be opened.
pub(crate) fn lock(
    locks: &Path,
    source: &FixtureSource,
    chain: &Chain,
    by: &str,
    cancel: &Cancel,
    sink: &dyn Sink,
) -> Result<Arc<BuilderLock>, FixtureError> {
    let path = locks.join(source.id());
    let begun = Instant::now();
    let mut said: Option<Option<Holder>> = None;
    let mut suspected = false;
    loop {
        if let Some(reason) = cancel.is_cancelled() {
            return Err(FixtureError::Cancelled {
                name: source.name.clone(),
                reason,
            });
        }
        if let Some(lock) =
            Lock::try_new(&path, Mode::Exclusive).map_err(FixtureError::io("locking", &path))?
        {
            if said.is_some() {
                chain.wait_for(None);
            }
            let holder = Mutex::new(Holder::of_this_process(by));
            return Ok(Arc::new(BuilderLock { lock, holder }));
        }
        let holder = Holder::read(&path);
        let news = match (&said, &holder) {
            (None, Some(_)) => true,
            (None, None) => begun.elapsed() >= UNNAMED_WAIT,
            (Some(Some(old)), Some(new)) => !old.is_same(new),
            (Some(None), Some(_)) => true,
            (Some(_), None) => false,
        };
        if news {
            if said.is_none() {
                chain.wait_for(Some(source));
            }
            sink.emit(FixtureEvent::Waiting {
                fixture: source.name.clone(),
                builder: holder.as_ref().map(Holder::as_builder),
            });
            said = Some(holder);
        }
        // Twice, because a holder that has just died leaves its message in the file for a moment.
        match chain.deadlock(locks, source) {
            Some(cycle) if suspected => {
                chain.wait_for(None);
                return Err(cycle);
            }
            cycle => suspected = cycle.is_some(),
        }
        cancel.sleep(POLL);
    }
}
