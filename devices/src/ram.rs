//! The guest's memory as devices reach it.
//!
//! Input: nothing. Output: one type. Not here: where memory is in the guest's address space.

/// The guest's memory, with a bitmap of the pages that devices (not vCPUs) have written.
pub type GuestRam = vm_memory::GuestMemoryMmap<vm_memory::bitmap::AtomicBitmap>;
