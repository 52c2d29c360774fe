//! Takes descriptor chains off a queue.
//!
//! Input: a queue that a driver fills. Output: its next chain. Not here: what is in the buffers.

use virtio_queue::{DescriptorChain, Queue, QueueOwnedT, QueueT};

use crate::GuestRam;

/// A descriptor chain: the buffers of one request.
pub(crate) type Chain<'a> = DescriptorChain<&'a GuestRam>;

/// The next available chain. When it says `None`, the driver's next one comes with a kick.
pub(crate) fn next_chain<'a>(queue: &mut Queue, ram: &'a GuestRam) -> Option<Chain<'a>> {
    loop {
        // A ring whose index makes no sense is an error here, and never gets better without a reset.
        if let Some(chain) = queue.iter(ram).ok()?.next() {
            return Some(chain);
        }
        // The driver may have added one before it could see that it must kick.
        if !queue.enable_notification(ram).ok()? {
            return None;
        }
    }
}
