//! Context ids: every machine that boots has one of its own in this process.
//!
//! Input: a machine that is created, or a snapshot's id. Output: the next id. Not here: what a guest is told
//! (the vsock device).
//!
//! Every machine has a vsock of its own, which reaches its guest alone, so ids need not differ for packets to
//! arrive. They tell guests apart by name. A guest that comes out of a snapshot keeps the id that its driver
//! has read: to change it, every connection would have to be reset.

use std::sync::atomic::{AtomicU32, Ordering};

use provium_devices::virtio::vsock::GUEST_CIDS;

/// The ids of this process.
pub(super) static CIDS: CidCounter = CidCounter::new();

/// Gives out context ids, each once until all have been given out.
#[derive(Debug)]
pub(super) struct CidCounter(AtomicU32);

impl CidCounter {
    const fn new() -> Self {
        Self(AtomicU32::new(*GUEST_CIDS.start()))
    }

    /// An id that no machine has been given, nor has [`note`](Self::note) named a higher one.
    pub(super) fn next(&self) -> u32 {
        let valid = |id: u32| {
            if GUEST_CIDS.contains(&id) {
                id
            } else {
                *GUEST_CIDS.start()
            }
        };
        let step = |id: u32| Some(valid(id) + 1);
        match self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, step) {
            Ok(id) | Err(id) => valid(id),
        }
    }

    /// Notes the id of a machine that came out of a snapshot: those that boot from now on get other ones.
    pub(super) fn note(&self, id: u32) {
        self.0.fetch_max(id.saturating_add(1), Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_differ_from_each_other_and_from_those_of_snapshots() {
        let ids = CidCounter::new();
        assert_eq!([ids.next(), ids.next(), ids.next()], [3, 4, 5]);
        ids.note(4);
        assert_eq!(ids.next(), 6);
        ids.note(40);
        assert_eq!(ids.next(), 41);
        ids.note(u32::MAX - 1);
        assert_eq!(ids.next(), 3, "behind the last they start again");
        ids.note(u32::MAX - 2);
        assert_eq!([ids.next(), ids.next()], [u32::MAX - 1, 3]);
    }
}
