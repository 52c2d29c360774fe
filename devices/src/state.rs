//! What is common to the saved state of every device.
//!
//! Input: a virtqueue, or the state of one. Output: the other, or a [`StateError`]. Not here: the devices'
//! own states, each named `FooState` after its device.
//!
//! A state is plain data that can be written to a file. One that comes back is not trusted: `restore` checks
//! it before the device changes, and says what is wrong with a [`StateError`].

use serde::{Deserialize, Serialize};
use virtio_queue::{Queue, QueueT};

use crate::GuestRam;

/// A saved state that no device can have been in.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("state of the {device}: {what}")]
pub struct StateError {
    /// The device whose state it is.
    pub device: &'static str,
    /// What is wrong with it, with the value.
    pub what: String,
}

impl StateError {
    /// An error about `device`.
    pub fn new(device: &'static str, what: impl Into<String>) -> Self {
        Self {
            device,
            what: what.into(),
        }
    }
}

/// The state of a virtqueue: where the driver has put it and how far the device has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueueState {
    /// Most descriptors that the device takes.
    pub max_size: u16,
    /// Number of descriptors that the driver has chosen.
    pub size: u16,
    /// Whether the driver has finished setting it up.
    pub ready: bool,
    /// Whether notifications are suppressed by index (EVENT_IDX).
    pub event_idx: bool,
    /// Next entry of the available ring to take.
    pub next_avail: u16,
    /// Next entry of the used ring to fill.
    pub next_used: u16,
    /// Guest physical address of the descriptor table.
    pub desc_table: u64,
    /// Guest physical address of the available ring.
    pub avail_ring: u64,
    /// Guest physical address of the used ring.
    pub used_ring: u64,
}

impl QueueState {
    /// The state of `queue`.
    pub fn of(queue: &Queue) -> Self {
        let state = queue.state();
        Self {
            max_size: state.max_size,
            size: state.size,
            ready: state.ready,
            event_idx: state.event_idx_enabled,
            next_avail: state.next_avail,
            next_used: state.next_used,
            desc_table: state.desc_table,
            avail_ring: state.avail_ring,
            used_ring: state.used_ring,
        }
    }

    /// The queue in this state, for a device that takes `max_size` descriptors.
    ///
    /// # Errors
    /// [`StateError`] about `device` when no queue can be in this state, or a ready one is not within `ram`.
    pub fn queue(&self, max_size: u16, ram: &GuestRam, device: &'static str) -> Result<Queue, StateError> {
        if self.max_size != max_size {
            let what = format!(
                "a queue of at most {} descriptors, expected {max_size}",
                self.max_size
            );
            return Err(StateError::new(device, what));
        }
        let state = virtio_queue::QueueState {
            max_size: self.max_size,
            next_avail: self.next_avail,
            next_used: self.next_used,
            event_idx_enabled: self.event_idx,
            size: self.size,
            ready: self.ready,
            desc_table: self.desc_table,
            avail_ring: self.avail_ring,
            used_ring: self.used_ring,
        };
        let queue =
            Queue::try_from(state).map_err(|error| StateError::new(device, format!("queue: {error}")))?;
        if queue.ready() && !queue.is_valid(ram) {
            let what = format!("a queue at {:#x} lies outside of guest memory", self.desc_table);
            return Err(StateError::new(device, what));
        }
        Ok(queue)
    }
}
