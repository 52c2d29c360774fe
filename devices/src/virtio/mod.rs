//! Virtio devices (OASIS virtio 1.2) and the MMIO transport they are behind.
//!
//! Input: register accesses of a driver, calls of the host. Output: requests served, data moved, interrupts.
//! Not here: where a device is on the bus.
//!
//! A device is a [`VirtioDevice`]: what it offers, its config space, and what it does when the driver has set
//! its queues up or notifies it. The transport ([`mmio`]) owns the registers and the negotiation and hands
//! the queues over with
//! [`VirtioDevice::activate`].

pub mod block;
pub(crate) mod chain;
pub mod device;
#[cfg(any(test, feature = "fake-driver"))]
pub mod fake;
pub mod fs;
pub mod interrupt;
pub mod mmio;
pub mod page;
pub mod registers;
pub mod rng;
pub mod saved;
pub mod vsock;

pub use device::{Activation, F_EVENT_IDX, F_INDIRECT_DESC, F_VERSION_1, VirtioDevice};
pub use interrupt::Interrupt;
pub use saved::DeviceState;
