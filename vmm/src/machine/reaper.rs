//! Where machines go to die: giving one back waits for grace periods of the kernel, and nobody should.

use std::sync::OnceLock;
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};

use super::end::EndReason;
use super::handle::Machine;

/// Machines that wait at most.
const WAITING: usize = 16;

impl Machine {
    /// Ends the machine now and leaves it to a thread of its own to wait for its threads and give back what it
    /// holds, which takes KVM milliseconds; at most a few machines wait for that thread, more are done with here.
    pub fn dispose(self) {
        self.ends.life.end(EndReason::Killed);
        reap(self);
    }
}

/// Drops the machine, on the reaper's thread unless that has enough to do.
fn reap(machine: Machine) {
    static REAPER: OnceLock<Option<SyncSender<Machine>>> = OnceLock::new();
    let reaper = REAPER.get_or_init(|| {
        let (sender, machines) = sync_channel::<Machine>(WAITING);
        let thread = std::thread::Builder::new().name("provium-reaper".to_owned());
        let spawned = thread.spawn(move || machines.into_iter().for_each(drop));
        spawned.ok().map(|_| sender)
    });
    let kept = match reaper {
        Some(sender) => match sender.try_send(machine) {
            Ok(()) => None,
            Err(TrySendError::Full(machine) | TrySendError::Disconnected(machine)) => Some(machine),
        },
        None => Some(machine),
    };
    drop(kept);
}
