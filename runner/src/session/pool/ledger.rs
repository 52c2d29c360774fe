//! Who has what of a pool, who waits, and who is next.
//!
//! Input: wishes, in the order in which they come; ends of machines. Output: for each wish an [`Answer`]. Not
//! here: waiting itself.

use std::collections::BTreeMap;
use std::sync::Weak;

use provium_vmm::Machine;

use super::account::Waiting;
use super::{Amount, PoolError};

/// What an account asks for.
#[derive(Debug, Clone, Copy)]
pub(super) enum Wish {
    /// So much for all its VMs, until it is released.
    Claim(Amount),
    /// A VM of this size.
    Vm(Amount),
}

/// What becomes of a wish for now.
#[derive(Debug)]
pub(super) enum Answer {
    /// It is granted; the number of the lease, for a VM.
    Granted(u64),
    /// It will never be.
    TooMuch(PoolError),
    /// It has to wait.
    Wait(Waiting),
}

/// What an account has.
#[derive(Debug)]
struct Holding {
    name: String,
    claimed: Amount,
    vms: BTreeMap<u64, HeldVm>,
}

/// A VM that an account is charged with.
#[derive(Debug)]
struct HeldVm {
    size: Amount,
    /// Its machine, once that was made.
    machine: Option<Weak<Machine>>,
}

impl HeldVm {
    fn has_ended(&self) -> bool {
        let machine = self.machine.as_ref().map(Weak::upgrade);
        machine.is_some_and(|machine| machine.is_none_or(|machine| machine.ended().is_some()))
    }
}

impl Holding {
    fn vms(&self) -> Amount {
        let sizes = self.vms.values().map(|vm| vm.size);
        sizes.fold(Amount::default(), |sum, size| Amount {
            memory: sum.memory.saturating_add(size.memory),
            cpus: sum.cpus.saturating_add(size.cpus),
        })
    }

    /// What it takes of the pool: VMs use what was claimed before anything else.
    fn takes(&self) -> Amount {
        larger(self.claimed, self.vms())
    }

    /// The same once a wish is granted.
    fn would_take(&self, wish: Wish) -> Amount {
        let vms = self.vms();
        match wish {
            Wish::Claim(claim) => larger(claim, vms),
            Wish::Vm(size) => {
                let vms = Amount {
                    memory: vms.memory.saturating_add(size.memory),
                    cpus: vms.cpus.saturating_add(size.cpus),
                };
                larger(self.claimed, vms)
            }
        }
    }
}

fn larger(a: Amount, b: Amount) -> Amount {
    Amount {
        memory: a.memory.max(b.memory),
        cpus: a.cpus.max(b.cpus),
    }
}

/// Who has what, and who waits.
#[derive(Debug)]
pub(super) struct Ledger {
    all: Amount,
    accounts: BTreeMap<u64, Holding>,
    /// Wishes by ticket: who asks comes behind those who asked before.
    queue: BTreeMap<u64, (u64, Wish)>,
    /// The account that was given more than there is.
    beyond: Option<u64>,
    next: u64,
}

impl Ledger {
    pub(super) fn new(all: Amount) -> Ledger {
        Ledger {
            all,
            accounts: BTreeMap::new(),
            queue: BTreeMap::new(),
            beyond: None,
            next: 0,
        }
    }

    fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    /// Opens an account.
    pub(super) fn open(&mut self, name: &str) -> u64 {
        let number = self.number();
        self.accounts.insert(
            number,
            Holding {
                name: name.to_owned(),
                claimed: Amount::default(),
                vms: BTreeMap::new(),
            },
        );
        number
    }

    /// Closes an account; all it has is given back.
    pub(super) fn close(&mut self, account: u64) {
        self.accounts.remove(&account);
        self.settle();
    }

    /// Gives back what an account has claimed.
    pub(super) fn release_claim(&mut self, account: u64) {
        if let Some(holding) = self.accounts.get_mut(&account) {
            holding.claimed = Amount::default();
        }
        self.settle();
    }

    /// Gives back a VM.
    pub(super) fn release_vm(&mut self, account: u64, vm: u64) {
        if let Some(holding) = self.accounts.get_mut(&account) {
            holding.vms.remove(&vm);
        }
        self.settle();
    }

    /// Says which machine a VM has.
    pub(super) fn made(&mut self, account: u64, vm: u64, machine: Weak<Machine>) {
        let holding = self.accounts.get_mut(&account);
        if let Some(vm) = holding.and_then(|holding| holding.vms.get_mut(&vm)) {
            vm.machine = Some(machine);
        }
    }

    /// Gives back the VMs whose machines have ended.
    pub(super) fn forget_ended(&mut self) {
        for holding in self.accounts.values_mut() {
            holding.vms.retain(|_, vm| !vm.has_ended());
        }
        self.settle();
    }

    fn settle(&mut self) {
        let taken = self.taken();
        if taken.memory <= self.all.memory {
            self.beyond = None;
        }
    }

    /// How much is taken.
    pub(super) fn taken(&self) -> Amount {
        let taken = self
            .accounts
            .values()
            .map(|holding| self.counted(holding.takes()));
        taken.fold(Amount::default(), |sum, takes| Amount {
            memory: sum.memory.saturating_add(takes.memory),
            cpus: sum.cpus.saturating_add(takes.cpus),
        })
    }

    /// Processors are no more than there are: guests take turns on them, and one with many is only slower.
    fn counted(&self, amount: Amount) -> Amount {
        Amount {
            cpus: amount.cpus.min(self.all.cpus),
            ..amount
        }
    }

    /// Charges an account with a VM without asking whether there is room.
    pub(super) fn charge(&mut self, account: u64, size: Amount) -> u64 {
        let number = self.number();
        if let Some(holding) = self.accounts.get_mut(&account) {
            holding.vms.insert(number, HeldVm { size, machine: None });
        }
        number
    }

    /// Puts a wish into the queue.
    ///
    /// # Errors
    /// A claim of more than there is.
    pub(super) fn queue(&mut self, account: u64, wish: Wish) -> Result<u64, PoolError> {
        if let Wish::Claim(asked) = wish
            && (asked.memory > self.all.memory || asked.cpus > self.all.cpus)
        {
            return Err(PoolError::TooMuch { asked, all: self.all });
        }
        let ticket = self.number();
        self.queue.insert(ticket, (account, wish));
        Ok(ticket)
    }

    /// Takes a wish out of the queue.
    pub(super) fn leave_queue(&mut self, ticket: u64) {
        self.queue.remove(&ticket);
    }

    /// Grants a wish if it can be now.
    pub(super) fn answer(&mut self, ticket: u64) -> Answer {
        self.forget_ended();
        let Some((account, wish)) = self.queue.get(&ticket).copied() else {
            return Answer::Granted(0);
        };
        let Some(holding) = self.accounts.get(&account) else {
            return Answer::Granted(0);
        };
        let (has, would) = (holding.takes(), holding.would_take(wish));
        if would.memory > self.all.memory {
            return Answer::TooMuch(PoolError::TooManyVms {
                file: holding.name.clone(),
                asked: would,
                all: self.all,
            });
        }
        let (has, would) = (self.counted(has), self.counted(would));
        let taken = self.taken();
        let after = Amount {
            memory: taken.memory - has.memory + would.memory,
            cpus: taken.cpus - has.cpus + would.cpus,
        };
        let fits = after.memory <= self.all.memory && after.cpus <= self.all.cpus;
        let covered = would == has;
        let alone = self.beyond.is_none_or(|beyond| beyond == account);
        let first = self.first_in_line() == Some(ticket);
        if covered || (first && (fits || (alone && self.is_stuck()))) {
            if !fits {
                self.beyond = Some(account);
            }
            return Answer::Granted(self.grant(account, wish));
        }
        Answer::Wait(self.waiting(account, would, has))
    }

    fn grant(&mut self, account: u64, wish: Wish) -> u64 {
        match wish {
            Wish::Vm(size) => self.charge(account, size),
            Wish::Claim(claim) => {
                if let Some(holding) = self.accounts.get_mut(&account) {
                    holding.claimed = claim;
                }
                0
            }
        }
    }

    fn has_something(&self, account: u64) -> bool {
        let holding = self.accounts.get(&account);
        holding.is_some_and(|holding| holding.takes() != Amount::default())
    }

    /// The ticket that is served next: of those who have something, else of those who have nothing.
    fn first_in_line(&self) -> Option<u64> {
        let has_something = |ticket: &&u64| self.has_something(self.queue[ticket].0);
        let first = self.queue.keys().find(has_something);
        first.or_else(|| self.queue.keys().next()).copied()
    }

    /// Whether nobody is left who could give anything back: all who have something wait.
    fn is_stuck(&self) -> bool {
        let waits = |account: &u64| self.queue.values().any(|(waiting, _)| waiting == account);
        let mut having = self
            .accounts
            .keys()
            .filter(|account| self.has_something(**account));
        let stuck = having.all(waits);
        stuck && self.accounts.keys().any(|account| self.has_something(*account))
    }

    fn waiting(&self, account: u64, would: Amount, has: Amount) -> Waiting {
        let others = self.accounts.iter().filter(|(other, _)| **other != account);
        let mut holders: Vec<(String, Amount)> = others
            .map(|(_, holding)| (holding.name.clone(), holding.takes()))
            .filter(|(_, takes)| *takes != Amount::default())
            .collect();
        holders.sort_by_key(|(_, takes)| std::cmp::Reverse(takes.memory));
        Waiting {
            wants: Amount {
                memory: would.memory - has.memory,
                cpus: would.cpus - has.cpus,
            },
            holders,
        }
    }

    #[cfg(test)]
    pub(super) fn queued(&self) -> usize {
        self.queue.len()
    }
}
