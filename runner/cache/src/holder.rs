//! Who builds a fixture, so that those who wait for it can say so.
//!
//! Enters: a fixture's lock. Leaves: the lock, or a wait that names its holder and ends with the holder's death.
//! A builder that waits for a second fixture notes that in its first one's lock file: two builders that wait for
//! each other are a cycle, and found. What a lock file says is a message to people; nothing but the lock itself
//! keeps builders apart.

use std::fmt;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use super::error::FixtureError;
use super::event::Event;
use super::lock::{Lock, Mode, POLL};
use super::source::FixtureSource;
use provium_base::cancel::Cancel;
use provium_base::units::DisplayDuration;

/// How long a holder may take to say who it is.
const NAMELESS: Duration = Duration::from_secs(1);
/// Longest command line that is shown.
const COMMAND_MAX: usize = 120;
/// Fixtures that may wait for each other in a row.
const DEEPEST: usize = 64;

/// Who holds a fixture's lock.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    /// Its process.
    pub pid: u32,
    /// That process's command line, shortened.
    pub command: String,
    /// For what it builds: a test file, say.
    pub by: String,
    /// Since when, in milliseconds since 1970.
    pub since: u64,
    /// The fixture it waits for itself, by lock and name.
    waits_for: Option<(String, String)>,
}

impl Holder {
    fn of_this_process(by: &str) -> Holder {
        let args: Vec<_> = std::env::args_os()
            .map(|arg| arg.to_string_lossy().into_owned())
            .collect();
        let mut command: String = args.join(" ").chars().take(COMMAND_MAX).collect();
        command.retain(|c| !c.is_control());
        Holder {
            pid: std::process::id(),
            command,
            by: by.to_owned(),
            since: now_millis(),
            waits_for: None,
        }
    }

    fn read(path: &Path) -> Option<Holder> {
        serde_json::from_slice(&std::fs::read(path).ok()?).ok()
    }

    fn is_same(&self, other: &Holder) -> bool {
        (self.pid, self.since) == (other.pid, other.since)
    }
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.pid == std::process::id() {
            write!(f, "{} of this run", self.by)?;
        } else {
            write!(f, "process {} ({})", self.pid, self.command)?;
        }
        let since = Duration::from_millis(now_millis().saturating_sub(self.since));
        write!(f, ", which has been building it for {}", DisplayDuration(since))
    }
}

/// Milliseconds since 1970.
pub(super) fn now_millis() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// The right to build one fixture.
#[derive(Debug)]
pub(super) struct BuilderLock {
    lock: Lock,
    holder: Mutex<Holder>,
}

impl BuilderLock {
    /// Says in the lock file who holds it and what for. A full disk takes the message and nothing else.
    pub(super) fn announce(&self) {
        self.write(&self.holder.lock().unwrap_or_else(PoisonError::into_inner));
    }

    fn wait_for(&self, what: Option<(String, String)>) {
        let mut holder = self.holder.lock().unwrap_or_else(PoisonError::into_inner);
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

/// The fixtures whose builds led to a call, outermost first; empty for a call from a test.
#[derive(Debug, Clone, Default)]
pub struct Chain(Vec<Link>);

#[derive(Debug, Clone)]
struct Link {
    id: String,
    name: String,
    lock: Weak<BuilderLock>,
}

impl Chain {
    /// Their names.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|link| link.name.as_str())
    }

    /// This chain with one more at its end.
    pub(super) fn with(&self, source: &FixtureSource, lock: &Arc<BuilderLock>) -> Chain {
        let link = Link {
            id: source.id(),
            name: source.name.clone(),
            lock: Arc::downgrade(lock),
        };
        Chain(self.0.iter().cloned().chain([link]).collect())
    }

    /// Refuses a fixture that is being built for its own sake.
    pub(super) fn check(&self, source: &FixtureSource) -> Result<(), FixtureError> {
        match self.0.iter().position(|link| link.id == source.id()) {
            None => Ok(()),
            Some(at) => Err(self.cycle(at, [source.name.as_str()])),
        }
    }

    /// The cycle from the link at `at` through the rest of the chain and `onward`, which ends with it.
    fn cycle<'a>(&'a self, at: usize, onward: impl IntoIterator<Item = &'a str>) -> FixtureError {
        let names: Vec<_> = self.names().skip(at).chain(onward).collect();
        FixtureError::Cycle(names.join(" → "))
    }

    /// Whether waiting for the fixture's holder would be waiting for one of this chain.
    fn deadlock(&self, locks: &Path, source: &FixtureSource) -> Option<FixtureError> {
        let (mut id, mut onward) = (source.id(), vec![source.name.clone()]);
        for _ in 0..DEEPEST {
            let (next, name) = Holder::read(&locks.join(&id))?.waits_for?;
            onward.push(name);
            if let Some(at) = self.0.iter().position(|link| link.id == next) {
                return Some(self.cycle(at, onward.iter().map(String::as_str)));
            }
            id = next;
        }
        None
    }

    fn wait_for(&self, what: Option<&FixtureSource>) {
        if let Some(lock) = self.0.last().and_then(|link| link.lock.upgrade()) {
            lock.wait_for(what.map(|source| (source.id(), source.name.clone())));
        }
    }
}

/// Takes the fixture's lock; says once whom it waits for, and again when that changes.
pub(super) fn lock(
    locks: &Path,
    source: &FixtureSource,
    chain: &Chain,
    by: &str,
    cancel: &Cancel,
    on_event: &mut dyn FnMut(Event),
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
            (None, None) => begun.elapsed() >= NAMELESS,
            (Some(Some(old)), Some(new)) => !old.is_same(new),
            (Some(None), Some(_)) => true,
            (Some(_), None) => false,
        };
        if news {
            if said.is_none() {
                chain.wait_for(Some(source));
            }
            on_event(Event::Waiting {
                fixture: source.name.clone(),
                holder: holder.clone(),
            });
            said = Some(holder);
        }
        // Twice, because a holder that has just died leaves its words for a moment.
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
