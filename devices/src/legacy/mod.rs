//! The few devices a PC kernel expects whatever else there is.

pub mod pci;
pub mod power;
pub mod serial;
