//! A guest's memory before anything is in it.
//!
//! Input: its size, and what it is for. Output: memory that is all zero. Not here: where in the guest's
//! address space it is (`layout`), and memory that comes out of a snapshot (`snapshot/image.rs`).

use provium_devices::GuestRam;
use rustix::mm::{Advice, madvise};
use vm_memory::{GuestMemoryBackend, GuestMemoryRegion, MmapRegion};

use super::error::MachineError;
use crate::layout;

/// Bytes of a large page.
const LARGE_PAGE: usize = 2 << 20;

/// What the memory is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RamUse {
    /// A guest that boots, and touches it all over: large pages save it most of its page faults.
    Boot,
    /// The content of a snapshot, which is mapped over it.
    Snapshot,
}

/// Memory for a guest, `memory` bytes of it, all zero.
pub(super) fn map_ram(memory: u64, used_for: RamUse) -> Result<GuestRam, MachineError> {
    let ranges = layout::ram_ranges(memory);
    let first = ranges.first().map_or(0, |(_, bytes)| *bytes);
    let gap = (used_for == RamUse::Boot).then(|| gap_before(first)).flatten();
    let ram = GuestRam::from_ranges(&ranges).map_err(|error| MachineError::Memory {
        mib: memory >> 20,
        cause: error.to_string(),
    })?;
    drop(gap);
    if used_for == RamUse::Boot {
        for region in ram.iter() {
            // SAFETY: the range is the region's own mapping; the advice changes nothing that is in it.
            let advised = unsafe {
                madvise(
                    region.as_ptr().cast(),
                    region.len() as usize,
                    Advice::LinuxHugepage,
                )
            };
            if let Err(error) = advised {
                tracing::debug!(%error, "no large pages for a guest's memory");
            }
        }
    }
    Ok(ram)
}

/// A mapping that takes as much room as it needs for the next one, of `bytes` bytes, to begin at a large
/// page: the kernel puts one below the other. Where another thread maps something in between it does not,
/// which costs nothing but page faults.
fn gap_before(bytes: usize) -> Option<MmapRegion> {
    let probe = MmapRegion::<()>::new(bytes).ok()?;
    let beyond = probe.as_ptr() as usize % LARGE_PAGE;
    drop(probe);
    (beyond > 0).then(|| MmapRegion::new(beyond).ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_for_a_boot_begins_at_a_large_page() {
        // Tests beside this one map things, too.
        let begins_there = |_| {
            let ram = map_ram(64 << 20, RamUse::Boot).unwrap();
            let region = ram.iter().next().unwrap();
            (region.as_ptr() as usize).is_multiple_of(LARGE_PAGE)
        };
        assert!((0..100).any(begins_there));
        let begun = (0..100).filter(|at| begins_there(*at)).count();
        assert!(begun > 10, "{begun} of 100");
    }
}
