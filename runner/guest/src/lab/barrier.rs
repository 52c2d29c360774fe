//! A place that callers leave together.
//!
//! Input: a name, how many are to come. Output: every caller, once the last has come; or how many had.
//! Whoever may block waits; whoever has others to let run looks from time to time whether it is open. Not
//! here: coroutines, and messages of a front.

use std::collections::BTreeMap;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};
use provium_base::cancel::{Cancel, CancelReason};

/// The barriers of a lab at which somebody waits.
#[derive(Debug, Default, Clone)]
pub struct Barriers(Arc<SharedBarriers>);

#[derive(Debug, Default)]
struct SharedBarriers {
    table: Mutex<RoundTable>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct RoundTable {
    rounds: BTreeMap<u64, Round>,
    last: u64,
}

/// One use of a barrier: it ends when all have come, and the next to come begins another.
#[derive(Debug)]
struct Round {
    name: String,
    count: i64,
    arrived: i64,
    open: bool,
    /// Callers that hold a [`Waiter`] of it.
    waiters: usize,
    /// The round is over when this is gone.
    owner: Option<Weak<()>>,
}

/// Why a caller does not leave a barrier with the others.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BarrierError {
    /// The others wait for another number of callers.
    #[error("`{name}` waits for {expected} callers, and this one says {count}")]
    OtherCount {
        /// The barrier.
        name: String,
        /// The others' number.
        expected: i64,
        /// This caller's.
        count: i64,
    },
    /// Time is up.
    #[error("`{name}`: {arrived} of {count} callers arrived within {}s", limit.as_secs_f64())]
    TimedOut {
        /// The barrier.
        name: String,
        /// How many had come.
        arrived: i64,
        /// How many were to come.
        count: i64,
        /// The time there was.
        limit: Duration,
    },
    /// Whoever began the round is gone.
    #[error("`{0}`: whoever began to wait here has ended")]
    Over(String),
    /// The run was ended from outside.
    #[error("{0}")]
    Cancelled(CancelReason),
}

impl Round {
    fn is_over(&self) -> bool {
        self.owner.as_ref().is_some_and(|owner| owner.strong_count() == 0)
    }
}

impl Barriers {
    /// Comes to the barrier of this name, at which `count` callers are to come. A round that begins with this
    /// is over when `owner` is gone, if there is one.
    ///
    /// # Errors
    /// [`BarrierError::OtherCount`]; nobody came then.
    pub fn arrive(&self, name: &str, count: i64, owner: Option<Weak<()>>) -> Result<Waiter, BarrierError> {
        let mut table = self.0.table.lock();
        table
            .rounds
            .retain(|_, round| round.waiters > 0 || !round.is_over());
        // A new round takes the place of one that is over, whose waiters still look at it.
        let waits =
            |round: &Round| round.name == name && round.arrived > 0 && !round.open && !round.is_over();
        let known = table.rounds.iter().find(|(_, round)| waits(round));
        let id = match known.map(|(id, _)| *id) {
            Some(id) => id,
            None => {
                table.last += 1;
                let id = table.last;
                table.rounds.insert(
                    id,
                    Round {
                        name: name.to_owned(),
                        count,
                        arrived: 0,
                        open: false,
                        waiters: 0,
                        owner,
                    },
                );
                id
            }
        };
        let round = table.rounds.get_mut(&id).expect("it was found or put there");
        if round.count != count {
            return Err(BarrierError::OtherCount {
                name: name.to_owned(),
                expected: round.count,
                count,
            });
        }
        round.arrived += 1;
        round.waiters += 1;
        if round.arrived == round.count {
            round.open = true;
            self.0.changed.notify_all();
        }
        Ok(Waiter {
            barriers: self.clone(),
            id,
        })
    }

    /// Waits until `count` callers have come to the barrier of this name, at most for `limit`.
    ///
    /// # Errors
    /// [`BarrierError`]; this caller has gone away again.
    pub fn wait(
        &self,
        name: &str,
        count: i64,
        limit: Duration,
        cancel: &Arc<Cancel>,
    ) -> Result<(), BarrierError> {
        let waiter = self.arrive(name, count, None)?;
        let left = waiter.wait(limit, cancel);
        if left.is_err() {
            waiter.leave();
        }
        left
    }
}

/// A caller that has come to a barrier. It goes away by [`leave`](Waiter::leave) alone; one that is dropped
/// counts on.
#[derive(Debug)]
pub struct Waiter {
    barriers: Barriers,
    id: u64,
}

impl Waiter {
    fn look<R>(&self, read: impl FnOnce(&mut Round) -> R) -> R {
        let mut table = self.barriers.0.table.lock();
        read(table.rounds.get_mut(&self.id).expect("a round with a waiter"))
    }

    /// Whether all have come.
    pub fn is_open(&self) -> bool {
        self.look(|round| round.open)
    }

    /// Whether whoever began the round is gone.
    pub fn is_over(&self) -> bool {
        self.look(|round| round.is_over())
    }

    /// How many have come and not gone away.
    pub fn arrived(&self) -> i64 {
        self.look(|round| round.arrived)
    }

    /// Goes away again, unless all have come.
    pub fn leave(&self) {
        self.look(|round| {
            if !round.open {
                round.arrived -= 1;
            }
        });
    }

    /// Waits until all have come, at most for `limit`.
    fn wait(&self, limit: Duration, cancel: &Arc<Cancel>) -> Result<(), BarrierError> {
        let shared = Arc::clone(&self.barriers.0);
        // Under the lock, or it could come between a look at the token and the wait.
        let _woken = cancel.on_cancel(Box::new(move || {
            let _table = shared.table.lock();
            shared.changed.notify_all();
        }));
        let until = Instant::now().checked_add(limit);
        let mut table = self.barriers.0.table.lock();
        loop {
            let round = &table.rounds[&self.id];
            if round.open {
                return Ok(());
            }
            if round.is_over() {
                return Err(BarrierError::Over(round.name.clone()));
            }
            if let Some(reason) = cancel.is_cancelled() {
                return Err(BarrierError::Cancelled(reason));
            }
            if until.is_some_and(|until| Instant::now() >= until) {
                return Err(BarrierError::TimedOut {
                    name: round.name.clone(),
                    arrived: round.arrived,
                    count: round.count,
                    limit,
                });
            }
            match until {
                Some(until) => drop(self.barriers.0.changed.wait_until(&mut table, until)),
                None => self.barriers.0.changed.wait(&mut table),
            }
        }
    }
}

impl Drop for Waiter {
    fn drop(&mut self) {
        let mut table = self.barriers.0.table.lock();
        let round = table.rounds.get_mut(&self.id).expect("a round with a waiter");
        round.waiters -= 1;
        let nobody = round.waiters == 0;
        // With the last caller goes the round; one that waits in vain stays for those to come.
        if nobody && (round.open || round.arrived == 0 || round.is_over()) {
            table.rounds.remove(&self.id);
        }
    }
}
