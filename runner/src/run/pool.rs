//! The memory and processors that files of a run can reserve.
//!
//! Enters: claims. Leaves: guards, each given back when it is dropped; a claim waits until what it asks for is free.
//! Claims are served in the order in which they came, so that a large one is not overtaken for ever. Absent on purpose:
//! what files use without claiming it.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::cancel::{Cancel, CancelReason};

/// How often a waiting claim looks at whether it is to end.
const LOOK: Duration = Duration::from_millis(50);
/// The part of the host's memory that is given out.
const MEMORY_PERCENT: u64 = 80;

/// How much.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Amount {
    /// Bytes.
    pub memory: u64,
    /// Virtual processors.
    pub cpus: u32,
}

/// What there is.
#[derive(Debug)]
pub struct Pool {
    all: Amount,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    taken: Amount,
    waiting: VecDeque<u64>,
    next: u64,
}

/// Why a claim cannot be had.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum PoolError {
    /// It is more than there is.
    #[error("{what} is more than the whole pool, which has {all}")]
    TooMuch {
        /// What was asked for.
        what: String,
        /// What there is.
        all: String,
    },
    /// The file was told to end.
    #[error("{0}")]
    Cancelled(CancelReason),
}

impl Pool {
    /// A pool of this much.
    pub fn new(all: Amount) -> Arc<Pool> {
        Arc::new(Pool {
            all,
            state: Mutex::default(),
            changed: Condvar::new(),
        })
    }

    /// Four fifths of the host's memory and all its processors, each given out `overcommit` times.
    pub fn of_host(overcommit: f64) -> Arc<Pool> {
        let cpus = std::thread::available_parallelism().map_or(1, usize::from);
        Pool::new(Amount {
            memory: host_memory() / 100 * MEMORY_PERCENT,
            cpus: (cpus as f64 * overcommit).floor().max(1.0) as u32,
        })
    }

    /// What there is in all.
    pub fn all(&self) -> Amount {
        self.all
    }

    /// Waits until so much is free, and takes it.
    ///
    /// # Errors
    /// [`PoolError`].
    pub fn claim(self: &Arc<Pool>, amount: Amount, cancel: &Cancel) -> Result<Claim, PoolError> {
        if amount.memory > self.all.memory {
            return Err(PoolError::TooMuch {
                what: format!("{} MiB of memory", amount.memory >> 20),
                all: format!("{} MiB", self.all.memory >> 20),
            });
        }
        if amount.cpus > self.all.cpus {
            return Err(PoolError::TooMuch {
                what: format!("{} CPUs", amount.cpus),
                all: self.all.cpus.to_string(),
            });
        }
        let mut state = self.lock();
        let ticket = state.next;
        state.next += 1;
        state.waiting.push_back(ticket);
        let leave = |state: &mut State| state.waiting.retain(|waiting| *waiting != ticket);
        loop {
            if let Some(reason) = cancel.is_cancelled() {
                leave(&mut state);
                self.changed.notify_all();
                return Err(PoolError::Cancelled(reason));
            }
            let fits = self.all.memory - state.taken.memory >= amount.memory
                && self.all.cpus - state.taken.cpus >= amount.cpus;
            if fits && state.waiting.front() == Some(&ticket) {
                leave(&mut state);
                state.taken.memory += amount.memory;
                state.taken.cpus += amount.cpus;
                self.changed.notify_all();
                return Ok(Claim {
                    pool: Arc::clone(self),
                    amount,
                });
            }
            let waited = self.changed.wait_timeout(state, LOOK);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What was taken from a pool, until it is dropped.
#[derive(Debug)]
pub struct Claim {
    pool: Arc<Pool>,
    amount: Amount,
}

impl Drop for Claim {
    fn drop(&mut self) {
        let mut state = self.pool.lock();
        state.taken.memory -= self.amount.memory;
        state.taken.cpus -= self.amount.cpus;
        drop(state);
        self.pool.changed.notify_all();
    }
}

/// The host's memory in bytes.
fn host_memory() -> u64 {
    let info = rustix::system::sysinfo();
    u64::from(info.totalram).saturating_mul(u64::from(info.mem_unit))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn amount(memory: u64, cpus: u32) -> Amount {
        Amount { memory, cpus }
    }

    #[test]
    fn a_claim_waits_for_another_to_end() {
        let (pool, cancel) = (Pool::new(amount(100, 4)), Cancel::new());
        let first = pool.claim(amount(60, 1), &cancel).expect("it is free");
        std::thread::scope(|scope| {
            let second = scope.spawn(|| pool.claim(amount(60, 1), &cancel).expect("it becomes free"));
            std::thread::sleep(Duration::from_millis(120));
            assert!(!second.is_finished());
            drop(first);
            drop(second.join().expect("no panic"));
        });
        assert_eq!(pool.lock().taken, Amount::default());
    }

    #[test]
    fn a_large_claim_is_not_overtaken() {
        let (pool, cancel) = (Pool::new(amount(100, 4)), Cancel::new());
        let first = pool.claim(amount(50, 0), &cancel).expect("it is free");
        std::thread::scope(|scope| {
            let large = scope.spawn(|| pool.claim(amount(100, 0), &cancel).expect("it becomes free"));
            while pool.lock().waiting.is_empty() {
                std::thread::yield_now();
            }
            let small = scope.spawn(|| pool.claim(amount(10, 0), &cancel).expect("it becomes free"));
            std::thread::sleep(Duration::from_millis(120));
            assert!(!small.is_finished());
            drop(first);
            drop(large.join().expect("no panic"));
            drop(small.join().expect("no panic"));
        });
    }

    #[test]
    fn too_much_and_told_to_end_are_errors() {
        let (pool, cancel) = (Pool::new(amount(100 << 20, 4)), Cancel::new());
        let error = pool.claim(amount(101 << 20, 1), &cancel).expect_err("too much");
        assert_eq!(
            error.to_string(),
            "101 MiB of memory is more than the whole pool, which has 100 MiB"
        );
        let error = pool.claim(amount(1, 5), &cancel).expect_err("too much");
        assert_eq!(
            error.to_string(),
            "5 CPUs is more than the whole pool, which has 4"
        );
        let _all = pool.claim(amount(0, 4), &cancel).expect("it is free");
        cancel.cancel(CancelReason::Interrupted);
        let error = pool.claim(amount(0, 1), &cancel).expect_err("told to end");
        assert_eq!(error, PoolError::Cancelled(CancelReason::Interrupted));
        assert!(pool.lock().waiting.is_empty());
    }

    #[test]
    fn a_host_has_something() {
        let pool = Pool::of_host(1.0);
        assert!(pool.all().memory > 1 << 20 && pool.all().cpus >= 1);
    }
}
