//! A paused machine, given the content of a snapshot.
//!
//! Enters: a machine, a shell or one that has run, and a [`Snapshot`]. Leaves: the machine in the snapshot's state,
//! still paused. A machine that was equal to this snapshot before gets back only the pages that have changed since;
//! any other has the snapshot's memory mapped in the place of its own.
//!
//! The order: devices let go of memory and streams fail; then memory, then disks, each with an overlay of its own on
//! what the snapshot has, then devices, whose interrupt lines take their
//! levels, then vCPUs with their local interrupt controllers, then the interrupt chips, then the clock, and last a look
//! at every queue, since a kick may have been under way. A machine that fails on the way is ended: it is neither what it was nor what it should be.

use std::collections::BTreeSet;
use std::sync::{Arc, PoisonError};

use vm_memory::{Bytes, GuestMemoryBackend};

use super::save::locate;
use super::{EndReason, Machine, MachineError, Parts};
use crate::disk::Disk;
use crate::kvm::{call, chips_state, host, tsc, vcpu_state};
use crate::snapshot::dirty::DirtyPages;
use crate::snapshot::{PAGE, Snapshot, SnapshotError};

/// Pages that stay writable over resets, at most. To compare more than that each time would take longer than it saves.
const MOST_WRITABLE: u64 = 2048;

/// A snapshot that a machine was equal to.
pub(super) struct Baseline {
    pub(super) snapshot: Arc<Snapshot>,
    /// What has been written since.
    pub(super) dirty: DirtyPages,
}

impl Machine {
    /// Puts the machine, which has to be paused, into the state of `snapshot`. Streams held so far fail from now on;
    /// those of the snapshot are to be [`adopt`](Self::adopt)ed before [`close_unclaimed`](Self::close_unclaimed)
    /// and [`resume`](Self::resume). Returns how many pages were put back, `None` when all were.
    ///
    /// # Errors
    /// [`MachineError::NotPaused`], [`MachineError::Shape`], [`MachineError::Frequency`], [`SnapshotError::Host`] and
    /// [`SnapshotError::DiskImage`]: the machine is as it was. After any other it has ended.
    pub fn load(&self, snapshot: &Arc<Snapshot>) -> Result<Option<u64>, MachineError> {
        let loaded = {
            let mut slot = self.standing_still()?;
            let parts = slot.as_mut().ok_or_else(|| self.ended_error())?;
            check(parts, snapshot)?;
            let disks = snapshot.disks()?;
            self.load_into(parts, snapshot, disks)
        };
        if let Err(error) = &loaded {
            self.life.end(EndReason::Monitor(format!(
                "it cannot be put into a snapshot's state: {error}"
            )));
        }
        loaded
    }

    fn load_into(
        &self,
        parts: &mut Parts,
        snapshot: &Arc<Snapshot>,
        disks: Vec<(u8, Arc<Disk>)>,
    ) -> Result<Option<u64>, MachineError> {
        // A stream of the host that is being written to fills the guest's buffers, paused or not.
        parts.platform.let_go();
        let restored = restore_memory(parts, snapshot)?;
        let state = snapshot.state();
        parts.platform.disks.replace(disks)?;
        parts.platform.restore(&state.devices)?;
        let host_tsc = tsc::host_tsc();
        for (vcpu, saved) in parts.vcpus.iter().zip(&state.vcpus) {
            let vcpu = vcpu.lock().unwrap_or_else(PoisonError::into_inner);
            vcpu_state::restore(&parts.vm.kvm, &vcpu.fd, saved, host_tsc)?;
        }
        chips_state::restore(&parts.vm.fd, &state.chips)?;
        self.console.clear();
        self.life.forget_panic();
        parts.platform.kick();
        Ok(restored)
    }
}

/// Refuses a snapshot of another kind of machine or host.
fn check(parts: &Parts, snapshot: &Snapshot) -> Result<(), MachineError> {
    let state = snapshot.state();
    if state.shape != parts.shape {
        let describe = |shape: crate::snapshot::state::Shape| {
            format!("{} MiB of memory and {} vCPUs", shape.memory >> 20, shape.cpus)
        };
        return Err(MachineError::Shape {
            snapshot: describe(state.shape),
            machine: describe(parts.shape),
        });
    }
    let saved = state.vcpus.first().map_or(0, |vcpu| vcpu.tsc_khz);
    if let Some(vcpu) = parts.vcpus.first() {
        let vcpu = vcpu.lock().unwrap_or_else(PoisonError::into_inner);
        let here = vcpu.fd.get_tsc_khz().map_err(call("KVM_GET_TSC_KHZ"))?;
        // Kernels measure it, a little differently each time; clocks are corrected for that, timers need not be.
        if saved.abs_diff(here) > here / 100 {
            return Err(MachineError::Frequency {
                snapshot: saved,
                host: here,
            });
        }
    }
    let (_, this) = host::offer(&parts.vm.kvm)?;
    if state.host != *this {
        return Err(MachineError::Snapshot(SnapshotError::Host {
            folder: snapshot.folder().to_owned(),
            made_on: Box::new(state.host.clone()),
            this: Box::new(this.clone()),
        }));
    }
    Ok(())
}

/// Makes the memory equal to the snapshot's; returns the number of pages copied, `None` for a new mapping.
fn restore_memory(parts: &mut Parts, snapshot: &Arc<Snapshot>) -> Result<Option<u64>, MachineError> {
    let known = parts
        .baseline
        .take()
        .filter(|baseline| baseline.snapshot.id() == snapshot.id());
    let (dirty, copied) = match known {
        Some(mut baseline) => {
            baseline.dirty.collect(&parts.vm, &parts.ram)?;
            let pages = snapshot.pages()?;
            let (mut copied, mut unchanged) = (0, BTreeSet::new());
            let many = baseline.dirty.count() > MOST_WRITABLE;
            let mut content = [0; PAGE as usize];
            for page in baseline.dirty.iter(&parts.ram) {
                let Some((region, at)) = locate(&parts.ram, page) else {
                    continue;
                };
                let same = !many && {
                    region.read_slice(&mut content, at).expect("a page of the region");
                    content == *pages.page(page)
                };
                if same {
                    unchanged.insert(page);
                } else {
                    region
                        .write_slice(pages.page(page), at)
                        .expect("a page of the region");
                    copied += 1;
                }
            }
            match many {
                true => baseline.dirty.put_all_back(&parts.vm, &parts.ram)?,
                false => baseline.dirty.put_back(&parts.vm, &parts.ram, unchanged)?,
            }
            (baseline.dirty, Some(copied))
        }
        None => {
            snapshot.image().map_onto(&parts.ram)?;
            parts.vm.log_dirty()?;
            (DirtyPages::start(&parts.vm, &parts.ram)?, None)
        }
    };
    // The copies above are the monitor's own, and leave every page as the snapshot has it.
    for region in parts.ram.iter() {
        (**region).bitmap().reset();
    }
    parts.baseline = Some(Baseline {
        snapshot: Arc::clone(snapshot),
        dirty,
    });
    Ok(copied)
}
