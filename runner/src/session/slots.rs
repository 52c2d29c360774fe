//! How many things a run does at a time: files, and tests of files whose tests run side by side.
//!
//! Input: a number. Output: slots, each free again when it is dropped. Not here: memory and processors of
//! guests, which `pool` gives out.

use std::sync::Arc;

use parking_lot::Mutex;

/// The slots of a run.
#[derive(Debug, Default)]
pub struct Slots(Mutex<usize>);

/// A slot that is taken, until it is dropped.
#[derive(Debug)]
#[must_use = "the slot is free again when this is dropped"]
pub struct Slot(Arc<Slots>);

impl Slots {
    /// So many slots.
    pub fn new(free: usize) -> Arc<Slots> {
        Arc::new(Slots(Mutex::new(free)))
    }

    /// A slot, if one is free now.
    pub fn take(self: &Arc<Slots>) -> Option<Slot> {
        let mut free = self.0.lock();
        *free = free.checked_sub(1)?;
        Some(Slot(Arc::clone(self)))
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        *self.0.0.lock() += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_as_many_as_there_are() {
        let slots = Slots::new(2);
        let (first, second) = (slots.take(), slots.take());
        assert!(first.is_some() && second.is_some() && slots.take().is_none());
        drop(first);
        assert!(slots.take().is_some());
        assert!(Slots::new(0).take().is_none());
    }
}
