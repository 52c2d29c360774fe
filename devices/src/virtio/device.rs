//! [`VirtioDevice`]: what stands behind a transport, and what the transport hands it.

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
/// The transport calls every method with its own lock held, mostly from a vCPU thread, in this order:
/// `activate`, any number of `notify` and config accesses, `reset`; then again.
pub trait VirtioDevice: Send {
    /// Device id, virtio 1.2 section 5.
    fn device_id(&self) -> u32;
    /// Features of this kind of device; the transport adds its own.
    fn features(&self) -> u64;
    /// The greatest size of each queue.
    fn queue_sizes(&self) -> &[u16];
    /// Reads config space; bytes past its end stay zero.
    fn read_config(&self, offset: u64, data: &mut [u8]);
    /// Takes the queues and starts.
    fn activate(&mut self, activation: Activation);
    /// The driver has put something into queue `index`, which exists.
    fn notify(&mut self, index: u16);
    /// Forgets the queues and everything the driver did.
    fn reset(&mut self);
    /// The queues as they stand, while the device has them.
    fn queues(&self) -> Option<Vec<QueueState>>;
    /// What has to be written down of the device itself.
    fn save(&self) -> DeviceState;
    /// Takes over a saved state, which is not trusted, and what the driver had set up, if it had. Whatever
    /// the device was doing is forgotten. Fails without having changed anything.
    fn restore(&mut self, state: &DeviceState, activation: Option<Activation>) -> Result<(), StateError>;
}

/// Copies the part of a config space that an access covers.
pub(crate) fn read_config_bytes(config: &[u8], offset: u64, data: &mut [u8]) {
    let from = usize::try_from(offset).unwrap_or(usize::MAX).min(config.len());
    let len = data.len().min(config.len() - from);
    data[..len].copy_from_slice(&config[from..from + len]);
}
