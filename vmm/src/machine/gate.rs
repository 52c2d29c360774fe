//! Where vCPU threads stop: for a pause, or for good.
//!
//! Input: vCPU threads that come by, and whoever pauses or ends the machine. Output: threads parked, or told
//! to end. Not here: getting a vCPU out of the guest (`lifecycle`).
//!
//! A vCPU passes the gate before every KVM_RUN. Whoever closes it then kicks the vCPUs out of the guest and
//! waits until all are parked.

use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::{Condvar, Mutex};

/// The gate that every vCPU thread of one machine passes.
#[derive(Default)]
pub(crate) struct Gate {
    /// Whether the gate is closed, for a pause or for good; read without the lock.
    closed: AtomicBool,
    state: Mutex<GateState>,
    changed: Condvar,
}

#[derive(Default)]
struct GateState {
    paused: bool,
    /// Whether it is closed for good.
    stopped: bool,
    /// Number of vCPU threads.
    alive: usize,
    /// Number of those that wait at the gate.
    parked: usize,
}

/// What a vCPU thread does next.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Pass {
    /// It enters the guest.
    Go,
    /// It ends.
    Stop,
}

impl Gate {
    /// Counts one more vCPU thread, which will come by.
    pub(crate) fn enter(&self) {
        self.state.lock().alive += 1;
    }

    /// Counts one vCPU thread less.
    pub(crate) fn leave(&self) {
        self.state.lock().alive -= 1;
        self.changed.notify_all();
    }

    /// Whether a vCPU thread has to [`park`](Self::park).
    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::SeqCst)
    }

    /// Waits while the machine is paused; tells the thread what to do then.
    pub(crate) fn park(&self) -> Pass {
        let mut state = self.state.lock();
        state.parked += 1;
        self.changed.notify_all();
        self.changed
            .wait_while(&mut state, |state| state.paused && !state.stopped);
        state.parked -= 1;
        if state.stopped { Pass::Stop } else { Pass::Go }
    }

    /// Closes the gate; vCPUs in the guest have still to be kicked.
    pub(crate) fn pause(&self) {
        self.state.lock().paused = true;
        self.closed.store(true, Ordering::SeqCst);
    }

    /// Waits until no vCPU is in the guest; false when the machine has stopped for good.
    pub(crate) fn wait_parked(&self) -> bool {
        let mut state = self.state.lock();
        self.changed
            .wait_while(&mut state, |state| !state.stopped && state.parked < state.alive);
        !state.stopped
    }

    /// Opens the gate again.
    pub(crate) fn resume(&self) {
        let mut state = self.state.lock();
        state.paused = false;
        self.closed.store(state.stopped, Ordering::SeqCst);
        self.changed.notify_all();
    }

    /// Closes the gate for good.
    pub(crate) fn stop(&self) {
        self.state.lock().stopped = true;
        self.closed.store(true, Ordering::SeqCst);
        self.changed.notify_all();
    }

    /// Whether the machine is paused.
    pub(crate) fn is_paused(&self) -> bool {
        let state = self.state.lock();
        state.paused && !state.stopped
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn a_pause_waits_for_every_thread_and_a_stop_ends_them() {
        let gate = Arc::new(Gate::default());
        let threads: Vec<_> = (0..3)
            .map(|_| {
                gate.enter();
                let gate = Arc::clone(&gate);
                std::thread::spawn(move || {
                    loop {
                        if gate.is_closed() && gate.park() == Pass::Stop {
                            gate.leave();
                            return;
                        }
                        std::thread::yield_now();
                    }
                })
            })
            .collect();
        for _ in 0..50 {
            gate.pause();
            assert!(gate.wait_parked());
            assert_eq!(gate.state.lock().parked, 3);
            gate.resume();
        }
        gate.pause();
        gate.stop();
        assert!(!gate.wait_parked());
        gate.resume();
        for thread in threads {
            thread.join().unwrap();
        }
        assert!(gate.is_closed(), "a stopped gate does not open again");
    }
}
