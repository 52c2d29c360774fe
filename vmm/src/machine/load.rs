//! A paused machine, given the content of a snapshot.
//!
//! Input: a machine, blank or one that has run, and a [`Snapshot`]. Output: the machine in the snapshot's
//! state, still paused. Not here: which pages are copied and which mapped (`baseline`).
//!
//! The order is that of [`provium_devices::lifecycle`]: devices detach from their queues and streams fail;
//! then memory, then disks, each with an overlay of its own on what the snapshot has, then devices, whose
//! interrupt lines take their levels, then vCPUs with their local interrupt controllers, then the interrupt
//! chips, then the clock, and last a kick of every queue, since a notification may have been under way. A
//! machine that fails on the way is ended: it is neither what it was nor what it should be.

use std::sync::Arc;

use super::baseline::Baseline;
use super::cid::CIDS;
use super::end::EndReason;
use super::error::MachineError;
use super::handle::Machine;
use super::hardware::Hardware;
use crate::disk::Disk;
use crate::kvm::{call, chips_state, host, tsc, vcpu_state};
use crate::snapshot::state::Shape;
use crate::snapshot::{Snapshot, SnapshotError};

impl Machine {
    /// A new machine in the state of a snapshot, paused.
    ///
    /// # Errors
    /// Those of [`blank`](Self::blank) and [`load`](Self::load).
    pub fn restore(snapshot: &Arc<Snapshot>) -> Result<Machine, MachineError> {
        let machine = Self::blank(snapshot.memory(), snapshot.cpus())?;
        machine.load(snapshot)?;
        Ok(machine)
    }

    /// Puts the machine, which has to be paused, into the state of `snapshot`. Streams held so far fail from
    /// now on; those of the snapshot are to be [`adopt`](Self::adopt)ed before
    /// [`close_unclaimed`](Self::close_unclaimed) and [`resume`](Self::resume). Returns how many pages were
    /// put back, `None` when all were.
    ///
    /// # Errors
    /// [`MachineError::NotPaused`], [`MachineError::Shape`], [`MachineError::Frequency`],
    /// [`SnapshotError::Host`] and
    /// [`SnapshotError::DiskImage`]: the machine is as it was. After any other it has ended.
    pub fn load(&self, snapshot: &Arc<Snapshot>) -> Result<Option<u64>, MachineError> {
        let loaded = {
            let mut slot = self.paused_hardware()?;
            let hardware = slot.as_mut().ok_or_else(|| self.ended_error())?;
            check(hardware, snapshot)?;
            let disks = snapshot.disks()?;
            self.load_into(hardware, snapshot, disks)
        };
        if let Err(error) = &loaded {
            self.ends.life.end(EndReason::Monitor(format!(
                "it cannot be put into a snapshot's state: {error}"
            )));
        }
        loaded
    }

    fn load_into(
        &self,
        hardware: &mut Hardware,
        snapshot: &Arc<Snapshot>,
        disks: Vec<(u8, Arc<Disk>)>,
    ) -> Result<Option<u64>, MachineError> {
        // A stream of the host that is being written to fills the guest's buffers, paused or not.
        hardware.platform.detach_queues();
        let known = hardware.baseline.take();
        self.ends.life.watch_memory(&hardware.ram, snapshot.image())?;
        let (baseline, restored) = Baseline::restore(known, &mut hardware.vm, &hardware.ram, snapshot)?;
        hardware.baseline = Some(baseline);
        let state = snapshot.state();
        hardware.platform.disks.replace(disks)?;
        hardware.platform.restore(&state.devices)?;
        CIDS.note(self.cid());
        let host_tsc = tsc::host_tsc();
        for (vcpu, saved) in hardware.vcpus.iter().zip(&state.vcpus) {
            let vcpu = vcpu.lock();
            vcpu_state::restore(&hardware.vm.kvm, &vcpu.fd, saved, host_tsc)?;
        }
        chips_state::restore(&hardware.vm.fd, &state.chips)?;
        self.ends.console.clear();
        self.ends.life.forget_panic();
        hardware.platform.kick();
        Ok(restored)
    }
}

/// Refuses a snapshot of a machine with another shape, or of another host.
fn check(hardware: &Hardware, snapshot: &Snapshot) -> Result<(), MachineError> {
    let state = snapshot.state();
    if state.shape != hardware.shape {
        let describe =
            |shape: Shape| format!("{} MiB of memory and {} vCPUs", shape.memory >> 20, shape.cpus);
        return Err(MachineError::Shape {
            snapshot: describe(state.shape),
            machine: describe(hardware.shape),
        });
    }
    // Threads of a guest without shared folders may not open any (`confine`), for good.
    if state.devices.has_shares() && hardware.platform.is_without_shares() {
        return Err(MachineError::Shape {
            snapshot: "shared folders".to_owned(),
            machine: "none".to_owned(),
        });
    }
    let saved = state.vcpus.first().map_or(0, |vcpu| vcpu.tsc_khz);
    if let Some(vcpu) = hardware.vcpus.first() {
        let vcpu = vcpu.lock();
        let here = vcpu.fd.get_tsc_khz().map_err(call("KVM_GET_TSC_KHZ"))?;
        // Kernels measure it, a little differently each time; clocks are corrected for that, timers need not
        // be.
        if saved.abs_diff(here) > here / 100 {
            return Err(MachineError::Frequency {
                snapshot: saved,
                host: here,
            });
        }
    }
    let (_, this) = host::offer(&hardware.vm.kvm)?;
    if state.host != *this {
        return Err(MachineError::Snapshot(SnapshotError::Host {
            folder: snapshot.folder().to_owned(),
            made_on: Box::new(state.host.clone()),
            this: Box::new(this.clone()),
        }));
    }
    Ok(())
}
