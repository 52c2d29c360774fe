//! What may be kept of programs' output, all programs of a run together.
//!
//! Input: bytes that somebody wants to keep. Output: whether there is room, and room again when they go. Not
//! here: what is kept.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use provium_guest::memory_limit;

/// Room for bytes.
#[derive(Debug)]
pub(super) struct Budget {
    most: u64,
    kept: AtomicU64,
}

/// Room that somebody has; dropping this gives it back.
#[derive(Debug)]
pub(super) struct Room {
    budget: Arc<Budget>,
    bytes: u64,
}

impl Budget {
    /// Room for `most` bytes.
    pub(super) fn new(most: u64) -> Arc<Budget> {
        Arc::new(Budget {
            most,
            kept: AtomicU64::new(0),
        })
    }

    /// The run's: as much as one answer of a guest may have.
    pub(super) fn of_run() -> Arc<Budget> {
        static RUN: OnceLock<Arc<Budget>> = OnceLock::new();
        Arc::clone(RUN.get_or_init(|| Budget::new(memory_limit())))
    }

    /// No room yet.
    pub(super) fn room(self: &Arc<Self>) -> Room {
        Room {
            budget: Arc::clone(self),
            bytes: 0,
        }
    }

    /// Bytes that all together may keep.
    pub(super) fn most(&self) -> u64 {
        self.most
    }
}

impl Room {
    /// Takes room for further bytes; whether there was enough.
    pub(super) fn take(&mut self, bytes: u64) -> bool {
        let more = |kept: u64| kept.checked_add(bytes).filter(|kept| *kept <= self.budget.most);
        let taken = self
            .budget
            .kept
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, more)
            .is_ok();
        self.bytes += if taken { bytes } else { 0 };
        taken
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        self.budget.kept.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}
