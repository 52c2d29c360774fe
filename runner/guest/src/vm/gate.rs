//! Who decides when a VM may take memory and vCPUs of the host.
//!
//! Input: the size of a machine that is about to be made. Output: a [`Lease`], held for as long as it runs.
//! Not here: how much there is; whoever shares a host between VMs knows.

use std::fmt::Debug;
use std::sync::{Arc, Weak};

use provium_vmm::Machine;

use super::error::VmError;
use super::life::Vm;

/// Asked before a machine is made.
pub trait Gate: Debug + Send + Sync {
    /// Waits until a machine with so many bytes of memory and so many vCPUs may be made for the VM of this
    /// name.
    ///
    /// # Errors
    /// Why it may not; for the user.
    fn admit(&self, vm: &str, memory: u64, vcpus: u8) -> Result<Box<dyn Lease>, String>;
}

/// What a VM holds of the host; given back when it is dropped.
pub trait Lease: Debug + Send {
    /// Learns which machine it is for, so that it can be given back once that has ended, before anybody asks
    /// the VM.
    fn is_for(&mut self, machine: Weak<Machine>);
}

impl Vm {
    /// Asks this gate before each machine that is made for it.
    pub fn set_gate(&mut self, gate: Arc<dyn Gate>) {
        self.gate = Some(gate);
    }

    /// Asks the gate, if there is one.
    pub(super) fn admit(&self, memory: u64, vcpus: u8) -> Result<Option<Box<dyn Lease>>, VmError> {
        let lease = self
            .gate
            .as_ref()
            .map(|gate| gate.admit(&self.name, memory, vcpus));
        lease.transpose().map_err(|why| VmError::NoRoom {
            name: self.name.clone(),
            why,
        })
    }

    /// Keeps a lease for the machine that runs now.
    pub(super) fn hold(&mut self, lease: Option<Box<dyn Lease>>) {
        self.lease = lease;
        let machine = self.machine().map(|machine| Arc::downgrade(&machine));
        if let (Some(lease), Some(machine)) = (&mut self.lease, machine) {
            lease.is_for(machine);
        }
    }
}
