//! The guest's memory as devices reach it.

/// The guest's memory, with a bitmap of the pages that devices (not vCPUs) have written.
pub type GuestRam = vm_memory::GuestMemoryMmap<vm_memory::bitmap::AtomicBitmap>;
