//! Emulated devices: what the guest's drivers talk to.
//!
//! Input: register reads and writes, guest memory, calls of the host's side. Output: answers, guest memory
//! changed, interrupt lines raised and lowered, [`PowerEvent`]s. Not here: KVM. An interrupt is a call of
//! [`IrqLine`], so every device runs in a test against a fake driver.
//!
//! ```text
//! lifecycle  who may call what on a device, and when
//! bus        address ranges → devices
//! legacy     serial port, power and reset registers, panic notification, an empty PCI bus
//! virtio     the MMIO transport, and behind it rng, vsock, disks and shared folders
//! state      what is common to the saved state of every device
//! irq ram    interrupt lines and guest memory, as devices see them
//! ```

pub mod bus;
pub mod irq;
pub mod legacy;
pub mod lifecycle;
mod ram;
pub mod state;
pub mod virtio;

pub use bus::{Bus, BusDevice};
pub use irq::IrqLine;
pub use legacy::power::PowerEvent;
pub use ram::GuestRam;
pub use state::{QueueState, StateError};
