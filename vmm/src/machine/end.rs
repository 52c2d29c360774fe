//! How a machine ends, told apart, and the one place where its end is decided.
//!
//! Input: reasons, from any thread. Output: the first of them, for everybody who asks or waits. Not here:
//! what follows from an end (`lifecycle`).

use std::fmt;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

/// Why a machine ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EndReason {
    /// The guest powered itself off.
    PowerOff,
    /// The guest asked for a restart.
    Reboot,
    /// The guest's kernel panicked; the message is its own.
    Panic(String),
    /// A triple fault; the text has the registers.
    TripleFault(String),
    /// KVM could not go on; the text has the cause, registers and instruction bytes.
    InternalError(String),
    /// A page of the guest's memory could not be had from its snapshot's file; the text says which file.
    MemoryLost(String),
    /// The host ended it: `kill` or drop.
    Killed,
    /// The monitor itself failed.
    Monitor(String),
}

impl fmt::Display for EndReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            EndReason::PowerOff => f.write_str("the guest powered off"),
            EndReason::Reboot => f.write_str("the guest asked for a restart"),
            EndReason::Panic(message) => write!(f, "the guest's kernel panicked: {message}"),
            EndReason::TripleFault(state) => write!(f, "the guest died of a triple fault: {state}"),
            EndReason::InternalError(cause) => write!(f, "KVM could not run the guest: {cause}"),
            EndReason::MemoryLost(cause) => write!(f, "the guest's memory was lost: {cause}"),
            EndReason::Killed => f.write_str("the machine was killed by the host"),
            EndReason::Monitor(cause) => write!(f, "the monitor failed: {cause}"),
        }
    }
}

/// The end reason, once there is one: the first wins, and everybody may wait for it.
#[derive(Default)]
pub(crate) struct EndDecision {
    reason: Mutex<Option<EndReason>>,
    decided: Condvar,
}

impl EndDecision {
    /// Decides the end; whether this call did.
    pub(crate) fn decide(&self, reason: EndReason) -> bool {
        let mut slot = self.reason.lock();
        if slot.is_some() {
            return false;
        }
        tracing::debug!(%reason, "machine ended");
        *slot = Some(reason);
        self.decided.notify_all();
        true
    }

    /// Why it ended, if it has.
    pub(crate) fn get(&self) -> Option<EndReason> {
        self.reason.lock().clone()
    }

    /// Waits for the end, at most `timeout` if there is one; `None` when that passes first.
    pub(crate) fn wait(&self, timeout: Option<Duration>) -> Option<EndReason> {
        let mut reason = self.reason.lock();
        let undecided = |reason: &mut Option<EndReason>| reason.is_none();
        match timeout {
            None => self.decided.wait_while(&mut reason, undecided),
            Some(timeout) => {
                self.decided.wait_while_for(&mut reason, undecided, timeout);
            }
        }
        reason.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_reason_wins_and_wakes_who_waits() {
        let end = EndDecision::default();
        assert_eq!(end.wait(Some(Duration::from_millis(5))), None);
        std::thread::scope(|scope| {
            let waiter = scope.spawn(|| end.wait(None));
            assert!(end.decide(EndReason::Reboot));
            assert!(!end.decide(EndReason::Killed));
            assert_eq!(waiter.join().unwrap(), Some(EndReason::Reboot));
        });
        assert_eq!(end.get(), Some(EndReason::Reboot));
    }
}
