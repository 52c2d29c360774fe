//! Numbers of pages, and where in guest memory each page is.
//!
//! Input: guest memory, a number. Output: the page's place or content. Not here: which pages a file holds
//! (`layer`).
//!
//! A page's number is its place in a snapshot's memory file: RAM from address 0 on, then RAM above the hole.

use provium_devices::GuestRam;
use vm_memory::{Bytes, GuestMemoryBackend, GuestMemoryRegion, MemoryRegionAddress};

use crate::layer::PAGE;

/// The region that page `page` is in, and its offset there; `None` beyond the end of memory.
pub(crate) fn locate(
    ram: &GuestRam,
    page: u64,
) -> Option<(&<GuestRam as GuestMemoryBackend>::R, MemoryRegionAddress)> {
    let mut at = page * PAGE;
    for region in ram.iter() {
        if at < region.len() {
            return Some((region, MemoryRegionAddress(at)));
        }
        at -= region.len();
    }
    None
}

/// Reads page `page` into `content`, which is as long as a page; leaves it alone beyond the end of memory.
pub(crate) fn read_page(ram: &GuestRam, page: u64, content: &mut [u8]) {
    if let Some((region, at)) = locate(ram, page) {
        region.read_slice(content, at).expect("a page of the region");
    }
}
