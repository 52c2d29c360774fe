//! Machines that are made before anybody asks for them.
//!
//! Input: snapshots to resume, guests that are not needed any more. Output: running guests, in the quickest
//! way there is: a guest of the same snapshot, or of one that is near, that another user has left is reset;
//! else a blank machine that was made ahead is given the snapshot; else a machine is made now. Blank machines
//! are made on threads of their own, one at a time; what the pool holds is bounded, and a limit of 0 holds
//! nothing. Not here: names and caches; snapshots come from the caller.

use std::sync::Arc;

use parking_lot::Mutex;
use provium_vmm::Machine;
use provium_vmm::snapshot::Snapshot;

use super::boot::Guest;
use super::resume::{ResumeError, ResumeOptions, reset, resume_in};

/// A bounded pool of machines; clones share it.
#[derive(Debug, Clone)]
pub struct WarmPool {
    machines: Arc<Mutex<PooledMachines>>,
    limit: usize,
}

#[derive(Debug, Default)]
struct PooledMachines {
    /// Paused guests, with the snapshot each came from or was saved as.
    guests: Vec<(Arc<Snapshot>, Guest)>,
    /// Blank machines, with their bytes of memory and number of vCPUs.
    blanks: Vec<((u64, u8), Machine)>,
    /// Whether a blank machine is being made.
    making: bool,
    /// Whether nothing is taken in any more.
    closed: bool,
}

impl WarmPool {
    /// A pool of at most `limit` blank machines and as many guests.
    pub fn new(limit: usize) -> WarmPool {
        WarmPool {
            machines: Arc::default(),
            limit,
        }
    }

    /// A running guest out of the snapshot.
    ///
    /// # Errors
    /// [`ResumeError`]; no machine is left.
    pub fn resume(&self, snapshot: &Arc<Snapshot>, on_resume: ResumeOptions) -> Result<Guest, ResumeError> {
        if let Some(mut guest) = self.take_guest(snapshot) {
            match reset(&mut guest, snapshot, on_resume) {
                Ok(_) => return Ok(guest),
                // It may have died in its sleep; a new one will do.
                Err(error) => tracing::debug!(%error, "a pooled guest cannot be used"),
            }
        }
        let shape = (snapshot.memory(), snapshot.cpus());
        let blank = match self.take_blank(shape) {
            Some(blank) => blank,
            None => Machine::blank(shape.0, shape.1)?,
        };
        let guest = resume_in(blank, snapshot, on_resume);
        self.prepare(shape);
        guest
    }

    /// Takes a guest that came from the snapshot and is not needed any more.
    pub fn give_back(&self, snapshot: &Arc<Snapshot>, guest: Guest) {
        if self.limit == 0 || guest.machine.ended().is_some() || guest.machine.pause().is_err() {
            return self.end(guest);
        }
        let mut pooled = self.machines.lock();
        if pooled.closed {
            drop(pooled);
            return self.end(guest);
        }
        // The oldest goes: what was asked for last is asked for next.
        let surplus = (pooled.guests.len() >= self.limit).then(|| pooled.guests.remove(0));
        pooled.guests.push((Arc::clone(snapshot), guest));
        drop(pooled);
        if let Some((_, guest)) = surplus {
            self.end(guest);
        }
    }

    /// Ends a guest; a thread of its own waits for what it holds to be given back, unless the pool holds
    /// nothing.
    pub fn end(&self, guest: Guest) {
        let Guest { machine, client } = guest;
        drop(client);
        match Arc::try_unwrap(machine) {
            Ok(machine) if self.limit > 0 => machine.dispose(),
            Ok(machine) => machine.kill(),
            // Somebody is about to kill it as well.
            Err(machine) => machine.kill(),
        }
    }

    /// Makes a blank machine of that many bytes of memory and vCPUs in the background, if none is pooled.
    pub fn prepare(&self, shape: (u64, u8)) {
        let mut pooled = self.machines.lock();
        let there = pooled.blanks.iter().any(|(known, _)| *known == shape);
        if self.limit == 0 || pooled.closed || pooled.making || there {
            return;
        }
        pooled.making = true;
        let surplus = (pooled.blanks.len() >= self.limit).then(|| pooled.blanks.remove(0));
        drop(pooled);
        let pool = self.clone();
        let thread = std::thread::Builder::new().name("provium-ready".to_owned());
        let spawned = thread.spawn(move || {
            if let Some((_, blank)) = surplus {
                blank.dispose();
            }
            let blank = Machine::blank(shape.0, shape.1);
            let mut pooled = pool.machines.lock();
            pooled.making = false;
            match blank {
                Ok(blank) if !pooled.closed => pooled.blanks.push((shape, blank)),
                Ok(blank) => {
                    drop(pooled);
                    blank.dispose();
                }
                // Whoever needs one will be told.
                Err(error) => tracing::debug!(%error, "a blank machine cannot be made ahead"),
            }
        });
        if spawned.is_err() {
            self.machines.lock().making = false;
        }
    }

    /// Ends what is pooled, and takes nothing in any more.
    pub fn close(&self) {
        let (guests, blanks) = {
            let mut pooled = self.machines.lock();
            pooled.closed = true;
            (
                std::mem::take(&mut pooled.guests),
                std::mem::take(&mut pooled.blanks),
            )
        };
        for (_, guest) in guests {
            guest.machine.kill();
        }
        drop(blanks);
    }

    fn take_guest(&self, snapshot: &Snapshot) -> Option<Guest> {
        let mut pooled = self.machines.lock();
        let mut guests = pooled.guests.iter();
        let same = guests.clone().rposition(|(known, _)| known.id() == snapshot.id());
        let at = same.or_else(|| guests.rposition(|(known, _)| known.is_near(snapshot)))?;
        Some(pooled.guests.remove(at).1)
    }

    fn take_blank(&self, shape: (u64, u8)) -> Option<Machine> {
        let mut pooled = self.machines.lock();
        let at = pooled.blanks.iter().position(|(known, _)| *known == shape)?;
        Some(pooled.blanks.remove(at).1)
    }
}
