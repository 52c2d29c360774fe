//! The snapshot that a machine was equal to, and what has changed since: what makes a reset in place quick.
//!
//! Input: the machine's memory and dirty logs, a snapshot. Output: memory equal to the snapshot's. Not here:
//! the rest of a machine's state (`load`).

use std::collections::BTreeSet;
use std::sync::Arc;

use provium_devices::GuestRam;
use vm_memory::{Bytes, GuestMemoryBackend};

use super::error::MachineError;
use crate::kvm::vm::Vm;
use crate::layer::PAGE;
use crate::snapshot::Snapshot;
use crate::snapshot::dirty::DirtyPages;
use crate::snapshot::pages::locate;

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

    /// Makes `ram` equal to `snapshot`: by copying back what has changed if `known` is of that snapshot, else
    /// by mapping it anew. Gives the number of pages copied, `None` for a new mapping.
    pub(super) fn restore(
        known: Option<Baseline>,
        vm: &mut Vm,
        ram: &GuestRam,
        snapshot: &Arc<Snapshot>,
    ) -> Result<(Self, Option<u64>), MachineError> {
        let known = known.filter(|baseline| baseline.snapshot.id() == snapshot.id());
        let restored = match known {
            Some(mut baseline) => {
                let copied = baseline.put_back(vm, ram)?;
                baseline.snapshot = Arc::clone(snapshot);
                (baseline, Some(copied))
            }
            None => {
                snapshot.image().map_onto(ram)?;
                (Self::start(vm, ram, snapshot)?, None)
            }
        };
        // The copies above are the monitor's own, and leave every page as the snapshot has it.
        for region in ram.iter() {
            (**region).bitmap().reset();
        }
        Ok(restored)
    }

    /// Copies back the pages that differ from the snapshot; gives their number.
    fn put_back(&mut self, vm: &Vm, ram: &GuestRam) -> Result<u64, MachineError> {
        self.dirty.collect(vm, ram)?;
        let pages = self.snapshot.pages()?;
        let (mut copied, mut unchanged) = (0, BTreeSet::new());
        let many = self.dirty.count() > MOST_WRITABLE;
        let mut content = [0; PAGE as usize];
        for page in self.dirty.iter(ram) {
            let Some((region, at)) = locate(ram, page) else {
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
            true => self.dirty.put_all_back(vm, ram)?,
            false => self.dirty.put_back(vm, ram, unchanged)?,
        }
        Ok(copied)
    }
}
