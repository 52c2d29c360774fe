//! The memory and processors that files of a run can reserve.
//!
//! Input: claims. Output: guards, each given back when it is dropped; a claim waits until what it asks for is
//! free. Claims are served in the order in which they came, so that a large one is not overtaken for ever.
//! Not here: what files use without claiming it.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;

use parking_lot::{Condvar, Mutex};
use provium_base::cancel::{Cancel, CancelReason};
use provium_base::units::DisplaySize;

/// The part of the host's memory that is given out.
const MEMORY_PERCENT: u64 = 80;

/// What a pool is made of, where it is not the host that decides.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Limits {
    /// Bytes, in place of most of the host's memory.
    pub memory: Option<u64>,
    /// Processors, in place of those this process may use.
    pub cpus: Option<u32>,
    /// How many virtual processors are given out for each of them. Guests are idle most of the time.
    pub overcommit: f64,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            memory: None,
            cpus: None,
            overcommit: 2.0,
        }
    }
}

/// An amount of memory and processors.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Amount {
    /// Bytes.
    pub memory: u64,
    /// Virtual processors.
    pub cpus: u32,
}

impl fmt::Display for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // To the mebibyte, where there is one: the host's memory is an odd number.
        let memory = match self.memory >> 20 {
            0 => self.memory,
            mib => mib << 20,
        };
        write!(f, "{} of memory and {} CPUs", DisplaySize(memory), self.cpus)
    }
}

/// The memory and processors of a session, and what of them is free.
#[derive(Debug)]
pub struct Pool {
    all: Amount,
    claims: Mutex<Claims>,
    changed: Condvar,
}

/// What is claimed and who waits.
#[derive(Debug, Default)]
struct Claims {
    taken: Amount,
    waiting: VecDeque<u64>,
    next: u64,
}

/// Why a claim cannot be had.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum PoolError {
    /// It is more than there is.
    #[error(
        "{asked} is more than this run has to give, which is {all} (--mem, --cpus and --cpu-overcommit change that)"
    )]
    TooMuch {
        /// What was asked for.
        asked: Amount,
        /// What there is.
        all: Amount,
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
            claims: Mutex::default(),
            changed: Condvar::new(),
        })
    }

    /// Four fifths of the host's memory and all its processors, unless the limits say otherwise.
    pub fn of_host(limits: &Limits) -> Arc<Pool> {
        let available = || std::thread::available_parallelism().map_or(1, usize::from) as u32;
        let cpus = f64::from(limits.cpus.unwrap_or_else(available)) * limits.overcommit;
        Pool::new(Amount {
            memory: limits
                .memory
                .unwrap_or_else(|| host_memory() / 100 * MEMORY_PERCENT),
            cpus: cpus.floor().max(1.0) as u32,
        })
    }

    /// Waits until so much is free, and takes it.
    ///
    /// # Errors
    /// [`PoolError`].
    pub fn claim(self: &Arc<Pool>, amount: Amount, cancel: &Arc<Cancel>) -> Result<Claim, PoolError> {
        if amount.memory > self.all.memory || amount.cpus > self.all.cpus {
            return Err(PoolError::TooMuch {
                asked: amount,
                all: self.all,
            });
        }
        let mut claims = self.claims.lock();
        let ticket = claims.next;
        claims.next += 1;
        claims.waiting.push_back(ticket);
        drop(claims);
        let pool = Arc::clone(self);
        // Under the lock, or it could come between a look at the token and the wait.
        let _woken = cancel.on_cancel(Box::new(move || {
            let _claims = pool.claims.lock();
            pool.changed.notify_all();
        }));
        let mut claims = self.claims.lock();
        let taken = loop {
            if let Some(reason) = cancel.is_cancelled() {
                break Err(PoolError::Cancelled(reason));
            }
            let fits = self.all.memory - claims.taken.memory >= amount.memory
                && self.all.cpus - claims.taken.cpus >= amount.cpus;
            if fits && claims.waiting.front() == Some(&ticket) {
                claims.taken.memory += amount.memory;
                claims.taken.cpus += amount.cpus;
                break Ok(Claim {
                    pool: Arc::clone(self),
                    amount,
                });
            }
            self.changed.wait(&mut claims);
        };
        claims.waiting.retain(|waiting| *waiting != ticket);
        drop(claims);
        // Whoever is now the first may find that there is enough for it.
        self.changed.notify_all();
        taken
    }
}

/// What was taken from a pool, until it is dropped.
#[derive(Debug)]
#[must_use = "what is claimed is given back when this is dropped"]
pub struct Claim {
    pool: Arc<Pool>,
    amount: Amount,
}

impl Drop for Claim {
    fn drop(&mut self) {
        let mut claims = self.pool.claims.lock();
        claims.taken.memory -= self.amount.memory;
        claims.taken.cpus -= self.amount.cpus;
        drop(claims);
        self.pool.changed.notify_all();
    }
}

/// The host's memory in bytes.
fn host_memory() -> u64 {
    let info = rustix::system::sysinfo();
    info.totalram.saturating_mul(u64::from(info.mem_unit))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn amount(memory: u64, cpus: u32) -> Amount {
        Amount { memory, cpus }
    }

    /// Waits until so many claims wait.
    fn until_waiting(pool: &Pool, count: usize) {
        while pool.claims.lock().waiting.len() < count {
            std::thread::yield_now();
        }
    }

    #[test]
    fn a_claim_waits_for_another_to_end() {
        let (pool, cancel) = (Pool::new(amount(100, 4)), Cancel::new());
        let first = pool.claim(amount(60, 1), &cancel).expect("it is free");
        let _beside = pool.claim(amount(40, 3), &cancel).expect("it is free");
        std::thread::scope(|scope| {
            let second = scope.spawn(|| pool.claim(amount(60, 1), &cancel).expect("it becomes free"));
            until_waiting(&pool, 1);
            assert_eq!(pool.claims.lock().taken, amount(100, 4));
            drop(first);
            let second = second.join().expect("no panic");
            assert_eq!(pool.claims.lock().taken, amount(100, 4));
            drop(second);
        });
        assert_eq!(pool.claims.lock().taken, amount(40, 3));
    }

    #[test]
    fn a_large_claim_is_not_overtaken() {
        let (pool, cancel) = (Pool::new(amount(100, 4)), Cancel::new());
        let first = pool.claim(amount(50, 0), &cancel).expect("it is free");
        let order = Mutex::new(Vec::new());
        std::thread::scope(|scope| {
            let take = |memory| {
                let claim = pool.claim(amount(memory, 0), &cancel).expect("it becomes free");
                order.lock().push(memory);
                drop(claim);
            };
            scope.spawn(move || take(100));
            until_waiting(&pool, 1);
            scope.spawn(move || take(10));
            until_waiting(&pool, 2);
            drop(first);
        });
        assert_eq!(*order.lock(), [100, 10]);
    }

    #[test]
    fn a_claim_that_gives_up_lets_the_next_through() {
        let (pool, cancel) = (Pool::new(amount(100, 4)), Cancel::new());
        let _first = pool.claim(amount(50, 0), &cancel).expect("it is free");
        let impatient = Cancel::new();
        std::thread::scope(|scope| {
            let large = scope.spawn(|| pool.claim(amount(100, 0), &impatient).map(drop));
            until_waiting(&pool, 1);
            let small = scope.spawn(|| pool.claim(amount(10, 0), &cancel).map(drop));
            until_waiting(&pool, 2);
            impatient.cancel(CancelReason::FileTimeout);
            let given_up = Err(PoolError::Cancelled(CancelReason::FileTimeout));
            assert_eq!(large.join().expect("no panic"), given_up);
            assert_eq!(small.join().expect("no panic"), Ok(()));
        });
        assert!(pool.claims.lock().waiting.is_empty());
    }

    #[test]
    fn too_much_is_an_error_at_once() {
        let (pool, cancel) = (Pool::new(amount(100 << 20, 4)), Cancel::new());
        for (asked, shown) in [
            (amount(101 << 20, 1), "101M of memory and 1 CPUs"),
            (amount(1, 5), "1 of memory and 5 CPUs"),
        ] {
            let error = pool.claim(asked, &cancel).map(drop).expect_err("too much");
            let expected =
                format!("{shown} is more than this run has to give, which is 100M of memory and 4 CPUs");
            assert!(error.to_string().starts_with(&expected), "{error}");
        }
        assert!(pool.claim(amount(100 << 20, 4), &cancel).is_ok());
    }

    #[test]
    fn a_pool_is_the_host_unless_told_otherwise() {
        let host = Pool::of_host(&Limits::default());
        assert!(host.all.memory > 1 << 20 && host.all.memory < host_memory());
        assert!(host.all.cpus >= 2);
        let told = Pool::of_host(&Limits {
            memory: Some(1 << 30),
            cpus: Some(3),
            overcommit: 0.5,
        });
        assert_eq!(told.all, amount(1 << 30, 1));
    }
}
