//! Looking where the vCPUs of a machine stand while it runs, and at what KVM has counted of them.
//!
//! Input: a machine, a limit of time. Output: a [`VcpuPlace`] for each vCPU, or [`KvmCounts`] of all. The
//! guest sees nothing of it: each vCPU leaves it once, as for any signal of the host. Not here: how its
//! threads answer (`looks`).

use std::time::{Duration, Instant};

use super::error::MachineError;
use super::handle::Machine;
use crate::kvm::stats::{self, KvmCounts};
use crate::kvm::vcpu_place::{self, VcpuPlace};

impl Machine {
    /// Where each vCPU stands, of a machine that runs or is paused; none of one that has ended. It takes
    /// `limit` at most: a vCPU whose thread has not answered by then is [`VcpuPlace::Busy`].
    pub fn vcpu_places(&self, limit: Duration) -> Vec<VcpuPlace> {
        let deadline = Instant::now() + limit;
        let Some(slot) = self.hardware_within(limit) else {
            return Vec::new();
        };
        let Some(hardware) = slot.as_ref() else {
            return Vec::new();
        };
        let vcpus = &hardware.vcpus;
        let life = &self.ends.life;
        let number = life.looks.begin(vcpus.len());
        life.kick();
        for (index, vcpu) in vcpus.iter().enumerate() {
            // The thread of one that is paused, or not started, has let go of it.
            if let Some(vcpu) = vcpu.try_lock() {
                life.looks.answer(number, index, vcpu_place::place(&vcpu.fd));
            }
        }
        let places = life.looks.wait(number, deadline).into_iter();
        places.map(|place| place.unwrap_or(VcpuPlace::Busy)).collect()
    }

    /// Notes beside the snapshot that a machine, which has to be paused, came from that guests of it write
    /// first what this one has written so far. Nothing for a machine that came from none.
    ///
    /// # Errors
    /// [`MachineError::NotPaused`]; what goes wrong with the file.
    pub fn note_touched(&self) -> Result<(), MachineError> {
        let mut slot = self.paused_hardware()?;
        let hardware = slot.as_mut().ok_or_else(|| self.ended_error())?;
        if let Some(baseline) = &mut hardware.baseline {
            baseline.dirty.collect(&hardware.vm, &hardware.ram)?;
            baseline
                .snapshot
                .note_touched(baseline.dirty.iter(&hardware.ram))?;
        }
        Ok(())
    }

    /// What KVM has counted of a machine, which has to be paused, since it was made.
    ///
    /// # Errors
    /// [`MachineError::NotPaused`]; [`MachineError::Host`] on a kernel that does not tell.
    pub fn kvm_counts(&self) -> Result<KvmCounts, MachineError> {
        let slot = self.paused_hardware()?;
        let hardware = slot.as_ref().ok_or_else(|| self.ended_error())?;
        let mut all = KvmCounts::default();
        for vcpu in &hardware.vcpus {
            all = all.plus(stats::read(&vcpu.lock().fd).map_err(MachineError::Host)?);
        }
        Ok(all)
    }

    /// Ends the machine as [`kill`](Self::kill) does, after a look at its vCPUs that takes `limit` at most.
    pub fn kill_with_look(&self, limit: Duration) {
        let places = self.vcpu_places(limit);
        let mut last = self.ends.life.looks.last.lock();
        if last.is_empty() {
            *last = places;
        }
        drop(last);
        self.kill();
    }

    /// What [`kill_with_look`](Self::kill_with_look) saw; nothing where it was not by that that the machine
    /// ended.
    pub fn last_places(&self) -> Vec<VcpuPlace> {
        self.ends.life.looks.last.lock().clone()
    }
}
