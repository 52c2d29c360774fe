//! The memory and processors of the host, which all that boots shares.
//!
//! Input: VMs that are about to run, and claims of files. Output: leases, each given back when it is dropped
//! or when its machine has ended; who asks for more than is free waits, and is told for whom. Not here: what
//! guests really use; each is charged with the size that it has. And machines that are kept ready, which
//! `--ready` bounds.
//!
//! ```text
//! mod      Pool: how much there is, who waits, who is next
//! ledger   who has what
//! account  one file's side of it: claims, and the gate that its VMs ask
//! ```
//!
//! A file that has nothing waits for its turn, in the order of asking. One that has something comes before
//! those, since what it has comes back only once it went on. When all who have something wait, nothing would
//! ever come back: the one that has waited longest gets what it asks for then, beyond what there is; one file
//! at a time.

mod account;
mod ledger;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};
use provium_base::cancel::{Cancel, CancelReason};
pub use provium_base::events::Amount;

pub use account::{Account, Waiting};
use ledger::{Answer, Ledger, Wish};

/// The part of the host's memory that is given out.
const MEMORY_PERCENT: u64 = 80;
/// How often someone who waits looks for machines that have ended by themselves.
const LOOK: Duration = Duration::from_millis(50);

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

/// The memory and processors of a session, and what of them is free.
#[derive(Debug)]
pub struct Pool {
    all: Amount,
    ledger: Mutex<Ledger>,
    changed: Condvar,
}

/// Why something cannot be had.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum PoolError {
    /// A claim of more than there is.
    #[error(
        "{asked} is more than this run has to give, which is {all} (--mem, --cpus and --cpu-overcommit change that)"
    )]
    TooMuch {
        /// What was asked for.
        asked: Amount,
        /// What there is.
        all: Amount,
    },
    /// A VM with which a file has more memory than there is.
    #[error(
        "with it the VMs of {file} would have {}, more than this run has to give, which is {} (--mem changes that); \
         close those that are not needed",
        .asked.shown_memory(), .all.shown_memory()
    )]
    TooManyVms {
        /// The file.
        file: String,
        /// What its VMs would have.
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
            ledger: Mutex::new(Ledger::new(all)),
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

    /// How much there is.
    pub fn all(&self) -> Amount {
        self.all
    }

    /// How much of it is taken.
    pub fn taken(&self) -> Amount {
        let mut ledger = self.ledger.lock();
        ledger.forget_ended();
        ledger.taken()
    }

    /// Waits until the wish of this account can be granted, and grants it; `blocked` is called once if that
    /// is not at once.
    fn obtain(
        self: &Arc<Pool>,
        account: u64,
        wish: Wish,
        cancel: &Arc<Cancel>,
        blocked: impl FnOnce(Waiting),
    ) -> Result<u64, PoolError> {
        let mut ledger = self.ledger.lock();
        let ticket = ledger.queue(account, wish)?;
        let pool = Arc::clone(self);
        drop(ledger);
        // Under the lock, or it could come between a look at the token and the wait.
        let _woken = cancel.on_cancel(Box::new(move || {
            let _ledger = pool.ledger.lock();
            pool.changed.notify_all();
        }));
        let mut blocked = Some(blocked);
        let mut ledger = self.ledger.lock();
        let granted = loop {
            if let Some(reason) = cancel.is_cancelled() {
                break Err(PoolError::Cancelled(reason));
            }
            match ledger.answer(ticket) {
                Answer::Granted(number) => break Ok(number),
                Answer::TooMuch(error) => break Err(error),
                Answer::Wait(waiting) => {
                    if let Some(blocked) = blocked.take() {
                        drop(ledger);
                        blocked(waiting);
                        ledger = self.ledger.lock();
                        continue;
                    }
                    self.changed.wait_for(&mut ledger, LOOK);
                }
            }
        };
        ledger.leave_queue(ticket);
        drop(ledger);
        // Whoever is now the first may find that there is enough for it.
        self.changed.notify_all();
        granted
    }

    /// Changes what an account has, and wakes those who wait.
    fn give_back(&self, change: impl FnOnce(&mut Ledger)) {
        change(&mut self.ledger.lock());
        self.changed.notify_all();
    }
}

/// The host's memory in bytes.
fn host_memory() -> u64 {
    let info = rustix::system::sysinfo();
    info.totalram.saturating_mul(u64::from(info.mem_unit))
}
