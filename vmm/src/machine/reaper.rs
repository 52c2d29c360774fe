//! Drops machines on a background thread, since closing one waits for grace periods of the kernel.
//!
//! Input: machines that nobody needs any more. Output: their threads, memory and descriptors given back,
//! later. Not here: ending a machine, which happens at once.

use std::sync::OnceLock;
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};

use super::end::EndReason;
use super::handle::Machine;

/// Most machines that wait for the thread.
const WAITING: usize = 16;

impl Machine {
    /// Ends the machine now and leaves it to a thread of its own to wait for its threads and give back what
    /// it holds, which takes KVM milliseconds; at most a few machines wait for that thread, more are done
    /// with here.
    pub fn dispose(self) {
        self.ends.life.end(EndReason::Killed);
        reap(self);
    }
}

/// Drops the machine, on the background thread unless enough wait for that.
fn reap(machine: Machine) {
    static REAPER: OnceLock<Option<SyncSender<Machine>>> = OnceLock::new();
    let reaper = REAPER.get_or_init(|| {
        let (sender, machines) = sync_channel::<Machine>(WAITING);
        let thread = std::thread::Builder::new().name("provium-reaper".to_owned());
        let spawned = thread.spawn(move || machines.into_iter().for_each(drop));
        spawned.ok().map(|_| sender)
    });
    let refused = match reaper {
        Some(sender) => match sender.try_send(machine) {
            Ok(()) => None,
            Err(TrySendError::Full(machine) | TrySendError::Disconnected(machine)) => Some(machine),
        },
        None => Some(machine),
    };
    drop(refused);
}
