//! The snapshot that a machine was equal to, and what has changed since: what makes a reset in place quick.
//!
//! Input: the machine's memory and dirty logs, a snapshot. Output: memory equal to the snapshot's. Not here:
//! the rest of a machine's state (`load`).

use std::sync::Arc;

use provium_devices::GuestRam;
use vm_memory::GuestMemoryBackend;

use super::error::MachineError;
use crate::kvm::vm::Vm;
use crate::snapshot::Snapshot;
use crate::snapshot::dirty::DirtyPages;

/// Most pages that stay writable over resets. To compare more than that each time would take longer than it
/// saves.
const MOST_WRITABLE: u64 = 2048;

/// The snapshot that a machine was equal to last.
pub(super) struct Baseline {
    pub(super) snapshot: Arc<Snapshot>,
    /// The pages that have been written since.
    pub(super) dirty: DirtyPages,
}

impl Baseline {
    /// Notes which pages change from now on, when the machine is equal to `snapshot`.
    pub(super) fn start(vm: &mut Vm, ram: &GuestRam, snapshot: &Arc<Snapshot>) -> Result<Self, MachineError> {
        vm.log_dirty()?;
        Ok(Baseline {
            snapshot: Arc::clone(snapshot),
            // What is in the logs by now is in the snapshot too.
            dirty: DirtyPages::start(vm, ram)?,
        })
    }

    /// Makes `ram` equal to `snapshot`: by copying what has changed, and what differs, if `known` is of that
    /// snapshot or of one that is near, else by mapping it anew. Gives the number of pages copied, `None` for
    /// a new mapping.
    pub(super) fn restore(
        known: Option<Baseline>,
        vm: &mut Vm,
        ram: &GuestRam,
        snapshot: &Arc<Snapshot>,
    ) -> Result<(Self, Option<u64>), MachineError> {
        let known = known.and_then(|baseline| {
            let between = baseline.snapshot.pages_between(snapshot)?;
            Some((baseline, between))
        });
        let restored = match known {
            Some((mut baseline, between)) => {
                baseline.dirty.collect(vm, ram)?;
                baseline.dirty.insert(ram, &between);
                baseline.snapshot = Arc::clone(snapshot);
                let copied = baseline.put_back(vm, ram)?;
                if snapshot.pages()?.are_lost() {
                    return Err(snapshot.image().loss().into());
                }
                (baseline, Some(copied))
            }
            None => {
                snapshot.map_onto(ram)?;
                (Self::start(vm, ram, snapshot)?, None)
            }
        };
        // The copies above are the monitor's own, and leave every page as the snapshot has it.
        for region in ram.iter() {
            (**region).bitmap().reset();
        }
        Ok(restored)
    }

    /// Copies the pages of the set that differ from the snapshot; gives their number.
    fn put_back(&mut self, vm: &Vm, ram: &GuestRam) -> Result<u64, MachineError> {
        let pages = self.snapshot.pages()?;
        if self.dirty.count() <= MOST_WRITABLE {
            return Ok(self.dirty.put_back(vm, ram, |page| pages.put_back(ram, page))?);
        }
        let copied = self.dirty.iter(ram).map(|page| pages.copy(ram, page)).count();
        self.dirty.put_all_back(vm, ram)?;
        Ok(copied as u64)
    }
}
