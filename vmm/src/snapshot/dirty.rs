//! Which pages a machine has changed since it was equal to a snapshot.
//!
//! Two parties write: vCPUs, which KVM's log knows of, and devices, which mark the bitmap that the memory itself
//! carries. Both are collected here, since each forgets what it has told.

use provium_devices::GuestRam;
use vm_memory::{GuestMemoryBackend, GuestMemoryRegion};

use super::index::PAGE;
use crate::kvm::KvmError;
use crate::kvm::vm::Vm;

/// A bit for each page of the guest, region after region.
#[derive(Debug, Default)]
pub(crate) struct DirtyPages {
    regions: Vec<Vec<u64>>,
}

impl DirtyPages {
    /// Adds what has been written since the last call, and makes KVM and the memory forget it.
    pub(crate) fn collect(&mut self, vm: &Vm, ram: &GuestRam) -> Result<(), KvmError> {
        self.regions.resize_with(ram.num_regions(), Vec::new);
        for (slot, (region, all)) in ram.iter().zip(&mut self.regions).enumerate() {
            let by_vcpus = vm.take_dirty_log(slot, region.len())?;
            let by_devices = (**region).bitmap().get_and_reset();
            all.resize(by_vcpus.len().max(by_devices.len()).max(all.len()), 0);
            for bits in [by_vcpus, by_devices] {
                for (all, bits) in all.iter_mut().zip(bits) {
                    *all |= bits;
                }
            }
        }
        Ok(())
    }

    /// Forgets everything.
    pub(crate) fn clear(&mut self) {
        for region in &mut self.regions {
            region.fill(0);
        }
    }

    /// The pages, in order, as a memory file counts them: without the hole.
    pub(crate) fn iter<'a>(&'a self, ram: &'a GuestRam) -> impl Iterator<Item = u64> + 'a {
        let mut first = 0;
        let regions = ram.iter().zip(&self.regions).map(move |(region, bits)| {
            let (start, pages) = (first, region.len() / PAGE);
            first += pages;
            (start, pages, bits)
        });
        regions.flat_map(|(start, pages, bits)| {
            let words = bits.iter().enumerate().filter(|(_, word)| **word != 0);
            words
                .flat_map(|(index, word)| (0..64).filter(move |bit| word >> bit & 1 == 1).map(move |bit| index as u64 * 64 + bit))
                .take_while(move |page| *page < pages)
                .map(move |page| start + page)
        })
    }
}
