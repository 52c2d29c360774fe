//! Who hears of each machine that runs for a VM.
//!
//! Input: machines that begin and end. Output: calls of a [`LifeWatch`], an end for each begin. Not here:
//! what is made of it.

use std::fmt::Debug;
use std::sync::Arc;

use provium_base::events::VmStart;
use provium_vmm::Machine;

use super::error::VmState;
use super::life::{Life, Vm};

/// Hears of a VM's machines.
pub trait LifeWatch: Debug + Send + Sync {
    /// A machine is about to boot for a VM.
    fn starts(&self, _machine: &Arc<Machine>) {}

    /// A machine of so many bytes runs for the VM of this name, at this vsock context id.
    fn began(&self, vm: &str, memory: u64, cid: u32, how: VmStart);

    /// It runs no more; `died` says why if nobody had asked it to.
    fn ended(&self, vm: &str, died: Option<&str>);
}

impl Vm {
    /// Tells this watch of each machine from now on.
    pub fn set_watch(&mut self, watch: Arc<dyn LifeWatch>) {
        self.watch = Some(watch);
    }

    /// Tells that a machine runs now.
    pub(super) fn tell_began(&self, memory: u64, how: VmStart) {
        if let (Some(watch), Life::Running { guest, .. }) = (&self.watch, &self.life) {
            watch.began(&self.name, memory, guest.machine.cid(), how);
        }
    }

    /// Tells that it runs no more, and what the VM is now.
    pub(super) fn tell_ended(&self, state: VmState, why: &str) {
        if let Some(watch) = &self.watch {
            watch.ended(&self.name, (state == VmState::Dead).then_some(why));
        }
    }
}
