//! The way a run is told to stop: a token that files and calls hang their own clean-up on.
//!
//! Input: one reason, once. Output: the callbacks run, on the thread that cancels, and every wait ends.
//! Not here: un-cancelling, and any knowledge of what the callbacks end.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};
use serde::{Deserialize, Serialize};

/// Why a run, or one file of it, is to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CancelReason {
    /// The user pressed Ctrl-C, or the process was asked to end.
    Interrupted,
    /// The file went past its time limit.
    FileTimeout,
    /// One test went past its own time limit; the file goes on.
    TestTimeout,
    /// Another test failed and `--fail-fast` is on.
    FailFast,
    /// A guest's kernel reported a fault of its own; the test, or the file's own code, is over.
    Splat,
}

impl CancelReason {
    /// Whether guests live on: a call that waits for one is broken off and nothing else is ended.
    pub fn spares_guests(self) -> bool {
        matches!(self, CancelReason::Splat)
    }
}

impl CancelReason {
    /// Whether a limit of time has passed.
    pub fn is_limit(self) -> bool {
        matches!(self, CancelReason::FileTimeout | CancelReason::TestTimeout)
    }
}

impl fmt::Display for CancelReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            CancelReason::Interrupted => "interrupted",
            CancelReason::FileTimeout => "the file's time limit has passed",
            CancelReason::TestTimeout => "the test's time limit has passed",
            CancelReason::FailFast => "stopped: another test failed (--fail-fast)",
            CancelReason::Splat => "a guest's kernel reported a fault of its own",
        })
    }
}

type Callback = Arc<dyn Fn() + Send + Sync>;

/// A token that is cancelled at most once; the first reason stays.
#[derive(Default)]
pub struct Cancel {
    state: Mutex<TokenState>,
    cancelled: Condvar,
}

/// What a token's lock protects.
#[derive(Default)]
struct TokenState {
    reason: Option<CancelReason>,
    next: u64,
    callbacks: BTreeMap<u64, Callback>,
    /// Keeps a child registered with its parent for as long as it lives.
    parent: Option<CancelGuard>,
}

impl Cancel {
    /// A token that nothing has cancelled.
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    /// A token that is cancelled with this one, for the same reason, or alone.
    pub fn child(self: &Arc<Self>) -> Arc<Self> {
        let child = Self::new();
        let (parent, weak) = (Arc::downgrade(self), Arc::downgrade(&child));
        let guard = self.on_cancel(Box::new(move || {
            let reason = parent.upgrade().and_then(|parent| parent.is_cancelled());
            if let (Some(child), Some(reason)) = (weak.upgrade(), reason) {
                child.cancel(reason);
            }
        }));
        child.state.lock().parent = Some(guard);
        child
    }

    /// Cancels: runs every callback on this thread, in the order of registration, and ends every wait.
    /// Later calls do nothing.
    pub fn cancel(&self, reason: CancelReason) {
        {
            let mut state = self.state.lock();
            if state.reason.is_some() {
                return;
            }
            state.reason = Some(reason);
        }
        self.cancelled.notify_all();
        // One at a time and without the lock: a callback may drop guards, its own included.
        loop {
            let Some((_, callback)) = self.state.lock().callbacks.pop_first() else {
                return;
            };
            callback();
        }
    }

    /// The reason, once cancelled.
    pub fn is_cancelled(&self) -> Option<CancelReason> {
        self.state.lock().reason
    }

    /// Runs `f` when the token is cancelled: on the thread that cancels, or here and now if it already is.
    /// Dropping the guard takes `f` out again; it does not wait for an `f` that is running.
    #[must_use = "dropping the guard removes the callback"]
    pub fn on_cancel(self: &Arc<Self>, f: Box<dyn Fn() + Send + Sync>) -> CancelGuard {
        let mut guard = CancelGuard {
            token: Weak::new(),
            id: 0,
        };
        let mut state = self.state.lock();
        if state.reason.is_some() {
            drop(state);
            f();
            return guard;
        }
        guard.token = Arc::downgrade(self);
        guard.id = state.next;
        state.next += 1;
        state.callbacks.insert(guard.id, Arc::from(f));
        guard
    }

    /// Sleeps for `duration`, or until cancelled; returns the reason in the latter case.
    pub fn sleep(&self, duration: Duration) -> Option<CancelReason> {
        let until = Instant::now().checked_add(duration);
        let mut state = self.state.lock();
        while state.reason.is_none() {
            let left = match until {
                None => Duration::MAX,
                Some(until) => until.saturating_duration_since(Instant::now()),
            };
            if left.is_zero() {
                break;
            }
            self.cancelled.wait_for(&mut state, left);
        }
        state.reason
    }
}

impl fmt::Debug for Cancel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cancel")
            .field("reason", &self.is_cancelled())
            .finish_non_exhaustive()
    }
}

/// Keeps a callback registered; dropping it takes the callback out.
pub struct CancelGuard {
    token: Weak<Cancel>,
    id: u64,
}

impl Drop for CancelGuard {
    fn drop(&mut self) {
        if let Some(token) = self.token.upgrade() {
            let callback = token.state.lock().callbacks.remove(&self.id);
            drop(callback); // outside the lock: what it captured may itself hold guards
        }
    }
}

impl fmt::Debug for CancelGuard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CancelGuard")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU32, Ordering};

    fn counter() -> (Arc<AtomicU32>, impl Fn() -> Box<dyn Fn() + Send + Sync>) {
        let count = Arc::new(AtomicU32::new(0));
        let shared = count.clone();
        (count, move || {
            let count = shared.clone();
            Box::new(move || {
                count.fetch_add(1, Ordering::SeqCst);
            })
        })
    }

    #[test]
    fn the_first_reason_stays_and_callbacks_run_once() {
        let (count, callback) = counter();
        let token = Cancel::new();
        let _guard = token.on_cancel(callback());
        assert_eq!(token.is_cancelled(), None);
        token.cancel(CancelReason::FailFast);
        token.cancel(CancelReason::Interrupted);
        assert_eq!(token.is_cancelled(), Some(CancelReason::FailFast));
        assert_eq!(count.load(Ordering::SeqCst), 1);
    }

    #[test]
    fn a_late_callback_runs_at_once_and_a_dropped_one_never() {
        let (count, callback) = counter();
        let token = Cancel::new();
        drop(token.on_cancel(callback()));
        token.cancel(CancelReason::Interrupted);
        assert_eq!(count.load(Ordering::SeqCst), 0);
        let _late = token.on_cancel(callback());
        assert_eq!(count.load(Ordering::SeqCst), 1);
    }

    #[test]
    fn a_child_follows_its_parent_and_not_the_other_way() {
        let parent = Cancel::new();
        let (one, two) = (parent.child(), parent.child());
        one.cancel(CancelReason::FileTimeout);
        assert_eq!(parent.is_cancelled(), None);
        assert_eq!(two.is_cancelled(), None);
        parent.cancel(CancelReason::Interrupted);
        assert_eq!(one.is_cancelled(), Some(CancelReason::FileTimeout));
        assert_eq!(two.is_cancelled(), Some(CancelReason::Interrupted));
        assert_eq!(parent.child().is_cancelled(), Some(CancelReason::Interrupted));
    }

    #[test]
    fn a_dead_child_leaves_nothing_behind() {
        let parent = Cancel::new();
        drop(parent.child());
        assert!(parent.state.lock().callbacks.is_empty());
    }

    #[test]
    fn a_callback_may_drop_its_own_guard() {
        let token = Cancel::new();
        let slot: Arc<Mutex<Option<CancelGuard>>> = Arc::default();
        let inner = slot.clone();
        let guard = token.on_cancel(Box::new(move || drop(inner.lock().take())));
        *slot.lock() = Some(guard);
        token.cancel(CancelReason::Interrupted);
        assert!(slot.lock().is_none());
    }

    #[test]
    fn a_sleep_ends_when_cancelled_from_another_thread() {
        let token = Cancel::new();
        assert_eq!(token.sleep(Duration::from_millis(1)), None);
        let other = token.clone();
        let thread = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(20));
            other.cancel(CancelReason::Interrupted);
        });
        let start = Instant::now();
        assert_eq!(
            token.sleep(Duration::from_secs(60)),
            Some(CancelReason::Interrupted)
        );
        assert!(start.elapsed() < Duration::from_secs(30));
        assert_eq!(token.sleep(Duration::MAX), Some(CancelReason::Interrupted));
        thread.join().expect("the cancelling thread");
    }
}
