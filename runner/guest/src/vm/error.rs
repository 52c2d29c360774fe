//! Where a VM can be in its life, and why it did not do what was asked.
//!
//! Input: errors of the parts below. Output: [`VmState`], and [`VmError`], which names the VM. Not here: what
//! to do then.

use std::fmt;

use provium_base::cancel::CancelReason;
use provium_vmm::MachineError;
use provium_vmm::disk::DiskError;

use crate::error::GuestError;
use crate::start::boot::BootError;
use crate::start::resume::ResumeError;

/// Where a VM is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VmState {
    /// Declared, never booted.
    Created,
    /// The agent has answered and the vCPUs run.
    Booted,
    /// The vCPUs stand still.
    Paused,
    /// It ended as somebody wanted: by the test or by the guest itself.
    Shutdown,
    /// It ended as nobody wanted.
    Dead,
}

impl fmt::Display for VmState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            VmState::Created => "created",
            VmState::Booted => "booted",
            VmState::Paused => "paused",
            VmState::Shutdown => "shutdown",
            VmState::Dead => "dead",
        })
    }
}

/// What the message of a VM that did not boot says of it, behind its name.
const DID_NOT_BOOT: &str = "did not boot";

/// Whether a failure's message says, with [`VmError::Boot`] in it, that a VM did not boot.
pub fn says_no_boot(message: &str) -> bool {
    message.lines().any(|line| {
        let (before, found) = line
            .split_once(&format!("` {DID_NOT_BOOT}: "))
            .unwrap_or_default();
        !found.is_empty() && before.contains("VM `")
    })
}

/// Why a VM did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum VmError {
    /// The call does not fit the state.
    #[error("{}", wrong_state(name, *state, why.as_deref(), needs))]
    WrongState {
        /// The VM.
        name: String,
        /// Its state.
        state: VmState,
        /// Why it ended, if it did.
        why: Option<String>,
        /// The states the call works in.
        needs: &'static str,
    },
    /// It did not boot.
    #[error("VM `{name}` {DID_NOT_BOOT}: {error}")]
    Boot {
        /// The VM.
        name: String,
        /// Why.
        error: Box<BootError>,
    },
    /// There is no room for it on the host.
    #[error("VM `{name}`: {why}")]
    NoRoom {
        /// The VM.
        name: String,
        /// Why.
        why: String,
    },
    /// It ended, or its agent did, during the call.
    #[error("VM `{name}` ended during the call: {why}")]
    Ended {
        /// The VM.
        name: String,
        /// Why.
        why: String,
    },
    /// The run was ended from outside during the call.
    #[error("VM `{name}` was torn down during the call: {reason}")]
    Cancelled {
        /// The VM.
        name: String,
        /// Why.
        reason: CancelReason,
    },
    /// The guest tried and failed.
    #[error("{0}")]
    Guest(GuestError),
    /// It cannot be saved or resumed.
    #[error("VM `{name}`: {error}")]
    Resume {
        /// The VM.
        name: String,
        /// Why.
        error: Box<ResumeError>,
    },
    /// There can be no such disk.
    #[error("VM `{name}`: {error}")]
    Disk {
        /// The VM.
        name: String,
        /// Why.
        error: Box<DiskError>,
    },
    /// The guest and a disk do not come together, or not apart.
    #[error("VM `{name}`: disk `{disk}`: {what}: {why}")]
    HotPlug {
        /// The VM.
        name: String,
        /// The disk.
        disk: String,
        /// What was wanted of the guest.
        what: &'static str,
        /// What it said.
        why: String,
    },
    /// The monitor could not.
    #[error("VM `{name}`: {error}")]
    Machine {
        /// The VM.
        name: String,
        /// Why.
        error: Box<MachineError>,
    },
}

/// What is said of a call that does not fit a VM's state.
fn wrong_state(name: &str, state: VmState, why: Option<&str>, needs: &str) -> String {
    match (state, why) {
        (VmState::Created, _) => {
            format!("VM `{name}` was not booted yet (state `created`): call vm:boot() first")
        }
        (state, Some(why)) => format!("VM `{name}` is {state} ({why}), this needs it {needs}"),
        (state, None) => format!("VM `{name}` is {state}, this needs it {needs}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_vm_that_did_not_boot_is_known_by_its_message_wherever_that_stands() {
        let error = BootError::Unfit {
            why: "no vsock".to_owned(),
            console: String::new(),
        };
        let name = "web".to_owned();
        let error = Box::new(error);
        let message = VmError::Boot { name, error }.to_string();
        assert!(says_no_boot(&message), "{message}");
        assert!(says_no_boot(&format!("failed\n  vm:boot: {message}")));
        assert!(!says_no_boot("the program `x` did not boot: no VM"));
        assert!(!says_no_boot("values differ\n  left: 1"));
    }
}
