//! One file's side of a pool: its claim, and the gate that its VMs ask.
//!
//! Input: claims, sizes of VMs. Output: leases; an event when the file has to wait. Not here: whose turn it
//! is.

use std::fmt;
use std::sync::{Arc, Weak};

use parking_lot::Mutex;
use provium_base::cancel::Cancel;
use provium_base::events::{ClaimEvent, Event, Sink};
use provium_guest::{Gate, Lease};
use provium_vmm::Machine;

use super::ledger::Wish;
use super::{Amount, Pool, PoolError};

/// Most files that a message names.
const NAMED: usize = 3;

/// What a file has of a pool; given back when it is dropped.
pub struct Account {
    pool: Arc<Pool>,
    number: u64,
    path: String,
    /// Whether it never waits.
    at_once: bool,
    sink: Arc<dyn Sink>,
    cancel: Arc<Cancel>,
    claimed: Mutex<Option<Amount>>,
}

/// Why somebody waits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Waiting {
    /// What is asked for, beyond what the file has.
    pub wants: Amount,
    /// Who has how much, the most first.
    pub holders: Vec<(String, Amount)>,
}

impl fmt::Display for Waiting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "waits for {}", self.wants)?;
        let named = self.holders.iter().take(NAMED);
        for (number, (name, has)) in named.enumerate() {
            let before = if number == 0 { "; " } else { ", " };
            write!(f, "{before}{name} has {has}")?;
        }
        match self.holders.len().saturating_sub(NAMED) {
            0 => Ok(()),
            more => write!(f, ", and {more} more"),
        }
    }
}

impl fmt::Debug for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Account")
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}

impl Account {
    /// An account of a file; `sink` hears when it has to wait, which `cancel` ends.
    pub fn open(pool: &Arc<Pool>, path: &str, sink: Arc<dyn Sink>, cancel: Arc<Cancel>) -> Arc<Account> {
        Account::with(pool, path, sink, cancel, false)
    }

    /// An account that is charged without waiting: somebody who has VMs may wait for what this one does.
    pub fn open_at_once(
        pool: &Arc<Pool>,
        path: &str,
        sink: Arc<dyn Sink>,
        cancel: Arc<Cancel>,
    ) -> Arc<Account> {
        Account::with(pool, path, sink, cancel, true)
    }

    fn with(
        pool: &Arc<Pool>,
        path: &str,
        sink: Arc<dyn Sink>,
        cancel: Arc<Cancel>,
        at_once: bool,
    ) -> Arc<Account> {
        Arc::new(Account {
            number: pool.ledger.lock().open(path),
            pool: Arc::clone(pool),
            path: path.to_owned(),
            at_once,
            sink,
            cancel,
            claimed: Mutex::default(),
        })
    }

    /// Waits until so much is free, and reserves it for the file's VMs.
    ///
    /// # Errors
    /// [`PoolError`].
    pub fn claim(&self, amount: Amount, cancel: &Arc<Cancel>) -> Result<(), PoolError> {
        self.obtain(Wish::Claim(amount), cancel)?;
        let path = self.path.clone();
        self.sink
            .emit(Event::Claim(ClaimEvent::Acquired { path, amount }));
        *self.claimed.lock() = Some(amount);
        Ok(())
    }

    /// Gives back what was claimed.
    pub fn release_claim(&self) {
        self.pool.give_back(|ledger| ledger.release_claim(self.number));
        if let Some(amount) = self.claimed.lock().take() {
            let path = self.path.clone();
            self.sink
                .emit(Event::Claim(ClaimEvent::Released { path, amount }));
        }
    }

    /// Waits until there is room for a VM of this size, and charges the file with it.
    ///
    /// # Errors
    /// [`PoolError`].
    pub fn vm(&self, size: Amount) -> Result<VmLease, PoolError> {
        let vm = match self.at_once {
            true => self.pool.ledger.lock().charge(self.number, size),
            false => self.obtain(Wish::Vm(size), &self.cancel)?,
        };
        Ok(VmLease {
            pool: Arc::clone(&self.pool),
            account: self.number,
            vm,
        })
    }

    fn obtain(&self, wish: Wish, cancel: &Arc<Cancel>) -> Result<u64, PoolError> {
        let blocked = |waiting: Waiting| {
            self.sink.emit(Event::FileBlocked {
                path: self.path.clone(),
                waiting_for: waiting.wants,
                why: waiting.to_string(),
            });
        };
        self.pool.obtain(self.number, wish, cancel, blocked)
    }
}

impl Drop for Account {
    fn drop(&mut self) {
        self.pool.give_back(|ledger| ledger.close(self.number));
    }
}

impl Gate for Account {
    fn admit(&self, _: &str, memory: u64, vcpus: u8) -> Result<Box<dyn Lease>, String> {
        let size = Amount {
            memory,
            cpus: vcpus.into(),
        };
        let lease = self.vm(size).map_err(|error| error.to_string())?;
        Ok(Box::new(lease))
    }
}

/// What a file is charged with for one VM; given back when it is dropped.
#[derive(Debug)]
#[must_use = "the VM is not charged any more when this is dropped"]
pub struct VmLease {
    pool: Arc<Pool>,
    account: u64,
    vm: u64,
}

impl Lease for VmLease {
    fn is_for(&mut self, machine: Weak<Machine>) {
        self.pool.ledger.lock().made(self.account, self.vm, machine);
    }
}

impl Drop for VmLease {
    fn drop(&mut self) {
        self.pool
            .give_back(|ledger| ledger.release_vm(self.account, self.vm));
    }
}
