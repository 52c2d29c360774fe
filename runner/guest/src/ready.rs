//! Machines that are ready before anybody asks for them.
//!
//! Enters: snapshots to resume, guests that are not needed any more. Leaves: running guests, in the quickest way there
//! is: a guest of the same snapshot that another test has left is put back; else a shell that was made ahead is given
//! the snapshot; else a machine is made now. Shells are made on threads of their own, one at a time; what is kept is
//! bounded, and a limit of 0 keeps nothing. Absent on purpose: names and caches; snapshots come from the caller.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use provium_vmm::Machine;
use provium_vmm::snapshot::{Snapshot, SnapshotId};

use super::boot::Guest;
use super::resume::{Arrival, ResumeError, reset, resume_in};

/// See the module.
#[derive(Debug, Clone)]
pub struct Ready {
    kept: Arc<Mutex<Kept>>,
    limit: usize,
}

#[derive(Debug, Default)]
struct Kept {
    /// Guests that are paused, with the snapshot they came from.
    guests: Vec<(SnapshotId, Guest)>,
    /// Memory, vCPUs and the machine.
    shells: Vec<((u64, u8), Machine)>,
    /// A shell is being made.
    making: bool,
    closed: bool,
}

impl Ready {
    /// Keeps at most `limit` shells and as many guests.
    pub fn new(limit: usize) -> Ready {
        Ready {
            kept: Arc::default(),
            limit,
        }
    }

    /// A running guest out of the snapshot.
    ///
    /// # Errors
    /// [`ResumeError`]; no machine is left.
    pub fn resume(&self, snapshot: &Arc<Snapshot>, arrival: Arrival) -> Result<Guest, ResumeError> {
        if let Some(mut guest) = self.take_guest(snapshot.id()) {
            match reset(&mut guest, snapshot, arrival) {
                Ok(_) => return Ok(guest),
                // It may have died in its sleep; a new one will do.
                Err(error) => tracing::debug!(%error, "a guest that was kept cannot be used"),
            }
        }
        let shape = (snapshot.memory(), snapshot.cpus());
        let shell = match self.take_shell(shape) {
            Some(shell) => shell,
            None => Machine::blank(shape.0, shape.1)?,
        };
        let guest = resume_in(shell, snapshot, arrival);
        self.prepare(shape);
        guest
    }

    /// Takes a guest that came from the snapshot and is not needed any more.
    pub fn give_back(&self, snapshot: &Snapshot, guest: Guest) {
        if self.limit == 0 || guest.machine.ended().is_some() || guest.machine.pause().is_err() {
            return self.end(guest);
        }
        let mut kept = self.lock();
        if kept.closed {
            drop(kept);
            return self.end(guest);
        }
        // The longest kept goes: what was asked for last is asked for next.
        let surplus = (kept.guests.len() >= self.limit).then(|| kept.guests.remove(0));
        kept.guests.push((snapshot.id(), guest));
        drop(kept);
        if let Some((_, guest)) = surplus {
            self.end(guest);
        }
    }

    /// Ends a guest; a thread of its own waits for what it holds to be given back, unless nothing is to be kept.
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

    /// Makes a shell of that shape in the background, if none is kept.
    pub fn prepare(&self, shape: (u64, u8)) {
        let mut kept = self.lock();
        let there = kept.shells.iter().any(|(known, _)| *known == shape);
        if self.limit == 0 || kept.closed || kept.making || there {
            return;
        }
        kept.making = true;
        let surplus = (kept.shells.len() >= self.limit).then(|| kept.shells.remove(0));
        drop(kept);
        let ready = self.clone();
        let thread = std::thread::Builder::new().name("provium-ready".to_owned());
        let spawned = thread.spawn(move || {
            if let Some((_, shell)) = surplus {
                shell.dispose();
            }
            let shell = Machine::blank(shape.0, shape.1);
            let mut kept = ready.lock();
            kept.making = false;
            match shell {
                Ok(shell) if !kept.closed => kept.shells.push((shape, shell)),
                Ok(shell) => {
                    drop(kept);
                    shell.dispose();
                }
                // Whoever needs one will be told.
                Err(error) => tracing::debug!(%error, "a shell cannot be made ahead"),
            }
        });
        if spawned.is_err() {
            self.lock().making = false;
        }
    }

    /// Gives up what is kept, and keeps nothing any more.
    pub fn close(&self) {
        let (guests, shells) = {
            let mut kept = self.lock();
            kept.closed = true;
            (std::mem::take(&mut kept.guests), std::mem::take(&mut kept.shells))
        };
        for (_, guest) in guests {
            guest.machine.kill();
        }
        drop(shells);
    }

    fn take_guest(&self, id: SnapshotId) -> Option<Guest> {
        let mut kept = self.lock();
        let at = kept.guests.iter().rposition(|(known, _)| *known == id)?;
        Some(kept.guests.remove(at).1)
    }

    fn take_shell(&self, shape: (u64, u8)) -> Option<Machine> {
        let mut kept = self.lock();
        let at = kept.shells.iter().position(|(known, _)| *known == shape)?;
        Some(kept.shells.remove(at).1)
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
