//! Taking descriptor chains off a queue.

use virtio_queue::{DescriptorChain, Queue, QueueOwnedT, QueueT};

use crate::GuestRam;

/// A request of the driver: a list of buffers.
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
