//! Takes descriptor chains off a queue.
//!
//! Input: a queue that a driver fills. Output: its next chain. Not here: what is in the buffers.

use virtio_queue::{DescriptorChain, Queue, QueueOwnedT, QueueT};

use crate::GuestRam;

/// A descriptor chain: the buffers of one request.
pub(crate) type Chain<'a> = DescriptorChain<&'a GuestRam>;

/// The next available chain. When it says `None`, the driver's next one comes with a kick.
pub(crate) fn next_chain<'a>(queue: &mut Queue, ram: &'a GuestRam) -> Option<Chain<'a>> {
    // Once more, since the driver may have added one before it could see that it must kick. An index that
    // goes back again in between is no driver's.
    for _ in 0..2 {
        // A ring whose index makes no sense is an error here, and never gets better without a reset.
        if let Some(chain) = queue.iter(ram).ok()?.next() {
            return Some(chain);
        }
        if !queue.enable_notification(ram).ok()? {
            break;
        }
    }
    None
}

/// The chains of a queue that one call may take: as many as the ring has room for, so that a driver which
/// adds more as fast as they are taken keeps nobody from anything else.
pub(crate) struct Batch {
    left: u16,
}

impl Batch {
    /// A batch of `queue`, of which nothing was taken yet.
    pub(crate) fn of(queue: &Queue) -> Batch {
        Batch { left: queue.size() }
    }

    /// The next chain of the batch.
    pub(crate) fn next<'a>(&mut self, queue: &mut Queue, ram: &'a GuestRam) -> Option<Chain<'a>> {
        if self.is_over() {
            return None;
        }
        let chain = next_chain(queue, ram)?;
        self.left -= 1;
        Some(chain)
    }

    /// Whether all of it was taken, so that there may be more behind it.
    pub(crate) fn is_over(&self) -> bool {
        self.left == 0
    }
}

#[cfg(test)]
mod tests;
