//! Which pages a machine may have changed since it was equal to a snapshot.
//!
//! Input: KVM's dirty log and the memory's own bitmap. Output: a set of page numbers. Not here: copying pages
//! back (`machine/baseline.rs`).
//!
//! Two parties write: vCPUs, which KVM's log knows of, and devices, which mark the bitmap that the memory
//! itself carries. A page that vCPUs have written stays in the log, and in the set, over resets, until it was
//! found unchanged at two of them in a row: what one test writes the next will write too, and to copy a page
//! back costs a fraction of the exit by which the guest would tell of it. So the set may hold pages that are
//! as they were.

use std::collections::BTreeSet;

use provium_devices::GuestRam;
use vm_memory::{GuestMemoryBackend, GuestMemoryRegion};

use crate::kvm::KvmError;
use crate::kvm::vm::Vm;
use crate::layer::PAGE;

/// A bit for each page of the guest, region after region.
#[derive(Debug, Default)]
pub(crate) struct DirtyPages {
    regions: Vec<Vec<u64>>,
    /// Pages that needed no copy at the last reset, in the same form.
    idle: Vec<Vec<u64>>,
}

impl DirtyPages {
    /// An empty set: the machine is equal to the snapshot now.
    pub(crate) fn start(vm: &Vm, ram: &GuestRam) -> Result<Self, KvmError> {
        let mut dirty = Self::default();
        dirty.collect(vm, ram)?;
        dirty.put_all_back(vm, ram)?;
        Ok(dirty)
    }

    /// Empties the set. `put` puts a page back and says whether that took a copy; gives the number of those
    /// that did. Of the pages that took none, those that took none at the last time either are watched for
    /// writes again.
    pub(crate) fn put_back(
        &mut self,
        vm: &Vm,
        ram: &GuestRam,
        put: impl FnMut(u64) -> bool,
    ) -> Result<u64, KvmError> {
        let copied = self.sift(ram, put);
        self.forget(vm, ram)?;
        Ok(copied)
    }

    /// Puts every page back and keeps those in the set that took no copy twice.
    fn sift(&mut self, ram: &GuestRam, mut put: impl FnMut(u64) -> bool) -> u64 {
        let (mut copied, mut first) = (0, 0);
        self.idle.resize_with(self.regions.len(), Vec::new);
        for ((region, dirty), idle) in ram.iter().zip(&mut self.regions).zip(&mut self.idle) {
            let pages = region.len() / PAGE;
            idle.resize(dirty.len(), 0);
            for (index, (word, idle)) in dirty.iter_mut().zip(idle).enumerate() {
                let mut unchanged = 0;
                for page in ones(index, *word).take_while(|page| *page < pages) {
                    if put(first + page) {
                        copied += 1;
                    } else {
                        unchanged |= 1 << (page % 64);
                    }
                }
                *word = unchanged & *idle;
                *idle = unchanged & !*idle;
            }
            first += pages;
        }
        copied
    }

    /// Empties the set, every page of which has been put back and is watched for writes again.
    pub(crate) fn put_all_back(&mut self, vm: &Vm, ram: &GuestRam) -> Result<(), KvmError> {
        self.idle.clear();
        self.forget(vm, ram)
    }

    /// Takes every page of the set out of it and out of KVM's log.
    fn forget(&mut self, vm: &Vm, ram: &GuestRam) -> Result<(), KvmError> {
        for (slot, (region, pages)) in ram.iter().zip(&self.regions).enumerate() {
            vm.forget_dirty(slot, region.len(), pages)?;
        }
        self.clear();
        Ok(())
    }

    /// Number of pages in the set.
    pub(crate) fn count(&self) -> u64 {
        let words = self.regions.iter().flatten();
        words.map(|word| u64::from(word.count_ones())).sum()
    }

    /// Adds pages, whether anybody has written them or not.
    pub(crate) fn insert(&mut self, ram: &GuestRam, pages: &BTreeSet<u64>) {
        let mut first = 0;
        for (region, bits) in ram.iter().zip(&mut self.regions) {
            let end = first + region.len() / PAGE;
            for page in pages.range(first..end) {
                let at = (page - first) as usize;
                if let Some(word) = bits.get_mut(at / 64) {
                    *word |= 1 << (at % 64);
                }
            }
            first = end;
        }
    }

    /// Adds the pages that have been written since the last call.
    pub(crate) fn collect(&mut self, vm: &Vm, ram: &GuestRam) -> Result<(), KvmError> {
        self.regions.resize_with(ram.num_regions(), Vec::new);
        for (slot, (region, all)) in ram.iter().zip(&mut self.regions).enumerate() {
            let by_vcpus = vm.dirty_log(slot, region.len())?;
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

    fn clear(&mut self) {
        for region in &mut self.regions {
            region.fill(0);
        }
    }

    /// The numbers of the pages, in order, as a memory file counts them: without the hole.
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
                .flat_map(|(index, word)| ones(index, *word))
                .take_while(move |page| *page < pages)
                .map(move |page| start + page)
        })
    }
}

/// The numbers of the bits that are set in the word at `index`, lowest first.
fn ones(index: usize, word: u64) -> impl Iterator<Item = u64> {
    let left = |word: &u64| (*word != 0).then_some(*word);
    let words = std::iter::successors(left(&word), move |word| left(&(word & (word - 1))));
    words.map(move |word| index as u64 * 64 + u64::from(word.trailing_zeros()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use vm_memory::{Bytes, GuestAddress};

    use super::super::pages::locate;
    use super::*;

    /// 70 pages below the hole, whose bits end within a word, and 130 above it.
    fn ram() -> GuestRam {
        let ranges = [(GuestAddress(0), 70 * 4096), (GuestAddress(4 << 30), 130 * 4096)];
        GuestRam::from_ranges(&ranges).unwrap()
    }

    fn set(dirty: &mut DirtyPages, region: usize, page: usize) {
        dirty.regions[region][page / 64] |= 1 << (page % 64);
    }

    #[test]
    fn pages_above_the_hole_are_numbered_after_those_below() {
        let ram = ram();
        let mut dirty = DirtyPages {
            regions: vec![vec![0; 2], vec![0; 3]],
            idle: Vec::new(),
        };
        assert_eq!(dirty.iter(&ram).count(), 0);
        for page in [0, 63, 64, 69] {
            set(&mut dirty, 0, page);
        }
        for page in [0, 1, 64, 129] {
            set(&mut dirty, 1, page);
        }
        let pages: Vec<u64> = dirty.iter(&ram).collect();
        assert_eq!(pages, [0, 63, 64, 69, 70, 71, 134, 199]);
        for (page, address) in pages
            .into_iter()
            .zip([0, 63, 64, 69, 1 << 20, (1 << 20) + 1, (1 << 20) + 64])
        {
            let (region, at) = locate(&ram, page).unwrap();
            assert_eq!(region.start_addr().0 + at.0, address * PAGE, "page {page}");
        }
        dirty.clear();
        assert_eq!(dirty.iter(&ram).count(), 0);
        let back = BTreeSet::from([0, 63, 64, 69, 70, 71, 134, 199]);
        dirty.insert(&ram, &back);
        assert!(
            dirty.iter(&ram).eq(back),
            "numbers become bits as bits become numbers"
        );
    }

    #[test]
    fn a_page_that_took_no_copy_twice_in_a_row_is_watched_again() {
        let ram = ram();
        let mut dirty = DirtyPages {
            regions: vec![vec![0; 2], vec![0; 3]],
            idle: Vec::new(),
        };
        let all = BTreeSet::from([0, 63, 69, 70, 199]);
        let reset = |dirty: &mut DirtyPages, changed: &[u64]| {
            // The log keeps what is not taken out of it.
            dirty.insert(&ram, &all);
            let mut seen = Vec::new();
            let copied = dirty.sift(&ram, |page| {
                seen.push(page);
                changed.contains(&page)
            });
            assert!(seen.iter().eq(&all), "each page once, in order");
            let watched: Vec<u64> = dirty.iter(&ram).collect();
            dirty.clear();
            (copied, watched)
        };
        assert_eq!(reset(&mut dirty, &[63, 199]), (2, vec![]));
        assert_eq!(reset(&mut dirty, &[0, 63]), (2, vec![69, 70]));
        assert_eq!(
            reset(&mut dirty, &[0]),
            (1, vec![199]),
            "63 and the two that are watched begin anew"
        );
        assert_eq!(reset(&mut dirty, &[]), (0, vec![63, 69, 70]));
    }

    #[test]
    fn bits_beyond_a_regions_end_are_no_pages() {
        let ram = ram();
        let dirty = DirtyPages {
            regions: vec![vec![0, u64::MAX], vec![0, 0, u64::MAX]],
            idle: Vec::new(),
        };
        let pages: Vec<u64> = dirty.iter(&ram).collect();
        let expected: Vec<u64> = (64..70).chain(70 + 128..70 + 130).collect();
        assert_eq!(pages, expected);
        assert!(locate(&ram, 200).is_none());
    }

    #[test]
    fn what_devices_write_is_in_the_memorys_own_bitmap() {
        let ram = ram();
        for address in [5 * PAGE + 4095, (4 << 30) + 129 * PAGE] {
            ram.write_slice(&[1], GuestAddress(address)).unwrap();
        }
        ram.write_slice(&[1, 2], GuestAddress(8 * PAGE - 1)).unwrap();
        let regions = ram.iter().map(|region| (**region).bitmap().get_and_reset());
        let dirty = DirtyPages {
            regions: regions.collect(),
            idle: Vec::new(),
        };
        assert_eq!(dirty.iter(&ram).collect::<Vec<_>>(), [5, 7, 8, 199]);
        let again = ram.iter().flat_map(|region| (**region).bitmap().get_and_reset());
        assert!(again.into_iter().all(|word| word == 0), "each is told once");
    }

    proptest! {
        #[test]
        fn any_pages_put_in_come_out_and_each_is_put_back_once(
            pages in prop::collection::btree_set(0..200u64, 0..200),
            changed in prop::collection::btree_set(0..200u64, 0..200),
        ) {
            let ram = ram();
            let mut dirty = DirtyPages {
                regions: vec![vec![0; 2], vec![0; 3]],
                idle: Vec::new(),
            };
            dirty.insert(&ram, &pages);
            prop_assert_eq!(dirty.count(), pages.len() as u64);
            prop_assert!(dirty.iter(&ram).eq(pages.iter().copied()));
            let mut seen = Vec::new();
            let copied = dirty.sift(&ram, |page| {
                seen.push(page);
                changed.contains(&page)
            });
            prop_assert!(seen.iter().eq(&pages));
            prop_assert_eq!(copied, pages.intersection(&changed).count() as u64);
        }
    }
}
