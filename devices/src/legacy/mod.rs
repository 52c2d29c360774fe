//! The few devices a PC kernel expects whatever else there is.
//!
//! Input: port accesses. Output: a console, power events, an empty PCI bus. Not here: timers and interrupt
//! controllers, which KVM emulates.

pub mod pci;
pub mod power;
pub mod serial;
