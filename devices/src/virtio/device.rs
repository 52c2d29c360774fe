//! [`VirtioDevice`]: a device behind a transport, and what the transport hands it.
//!
//! Input: an [`Activation`], notifications. Output: whatever the device does. Not here: registers and
//! negotiation (`mmio`).

use std::sync::Arc;

use virtio_bindings::virtio_config::VIRTIO_F_VERSION_1;
use virtio_bindings::virtio_ring::{VIRTIO_RING_F_EVENT_IDX, VIRTIO_RING_F_INDIRECT_DESC};
use virtio_queue::Queue;

use super::interrupt::Interrupt;
use super::saved::DeviceState;
use crate::{GuestRam, QueueState, StateError};

/// Feature bit: the device obeys virtio 1.0 and later.
pub const F_VERSION_1: u64 = 1 << VIRTIO_F_VERSION_1;
/// Feature bit: notifications are suppressed by index.
pub const F_EVENT_IDX: u64 = 1 << VIRTIO_RING_F_EVENT_IDX;
/// Feature bit: descriptors may point at tables of descriptors.
pub const F_INDIRECT_DESC: u64 = 1 << VIRTIO_RING_F_INDIRECT_DESC;

/// What a driver has set up and a device may use until it is reset.
pub struct Activation {
    /// The guest's memory.
    pub ram: GuestRam,
    /// The queues, each validated against the memory; a queue the driver left alone is not ready.
    pub queues: Vec<Queue>,
    /// How the device calls the driver.
    pub interrupt: Arc<Interrupt>,
    /// The features both sides agreed on.
    pub features: u64,
}

/// A device behind the transport.
///
/// Only the transport calls these methods, with its own lock held, mostly on a vCPU's thread:
///
/// ```text
/// no queues ── activate, or restore with an activation ──► has queues ─┬─ notify, any number of times
///     ▲                                                                │
///     └─────────────────── reset, or restore without ──────────────────┘
/// ```
///
/// All others may come in either state. When the monitor makes the transport call which of them is told in
/// [`lifecycle`](crate::lifecycle).
pub trait VirtioDevice: Send {
    /// Device id, virtio 1.2 section 5.
    fn device_id(&self) -> u32;
    /// Feature bits of this kind of device; the transport adds its own.
    fn features(&self) -> u64;
    /// The most descriptors of each queue, powers of two.
    fn queue_sizes(&self) -> &[u16];
    /// Reads config space from `offset` on; bytes past its end stay zero.
    fn read_config(&self, offset: u64, data: &mut [u8]);
    /// Takes the queues and starts to serve them. The device has none before.
    fn activate(&mut self, activation: Activation);
    /// The driver has put something into queue `index`, which exists. The device has its queues. It takes as
    /// many chains as the ring has room for, at most; true says that there may be more, and that it wants to
    /// be called again for the same queue.
    fn notify(&mut self, index: u16) -> bool;
    /// Tells the driver what the device has kept back so far to tell it together with something else.
    fn settle(&mut self) {}
    /// Forgets the queues and everything the driver did; touches guest memory no more. Harmless without
    /// queues.
    fn reset(&mut self);
    /// The queues as they stand; `None` while the device has none.
    fn queues(&self) -> Option<Vec<QueueState>>;
    /// The device's own state, without its queues.
    fn save(&self) -> DeviceState;
    /// Takes over a saved state, which is not trusted, and the queues that belong to it, if it had any.
    /// Whatever the device was doing is forgotten.
    ///
    /// # Errors
    /// When no device of this kind can have been in that state; nothing has changed then.
    fn restore(&mut self, state: &DeviceState, activation: Option<Activation>) -> Result<(), StateError>;
}

/// Copies the part of a config space that an access covers.
pub(crate) fn read_config_bytes(config: &[u8], offset: u64, data: &mut [u8]) {
    let from = usize::try_from(offset).unwrap_or(usize::MAX).min(config.len());
    let len = data.len().min(config.len() - from);
    data[..len].copy_from_slice(&config[from..from + len]);
}
