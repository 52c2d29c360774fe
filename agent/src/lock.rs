//! Locks without poisoning: std's own, with the guard handed out whatever happened to the last holder.
//!
//! The agent ends at a panic, so that a poisoned lock is never seen in a guest. parking_lot would be the
//! usual choice, but its queues of waiting threads lie in one table that all locks of the process share, and
//! a worker's process is made by `fork` while other threads may hold parts of that table (`worker.rs`). std's
//! locks are a single word each.
//!
//! Input: values to protect.
//! Output: guards.
//! Not here: condition variables; the agent's threads wait in `poll`.

use std::sync::{MutexGuard, RwLockReadGuard, RwLockWriteGuard};

/// [`std::sync::Mutex`] without poisoning.
#[derive(Debug, Default)]
pub(crate) struct Mutex<T>(std::sync::Mutex<T>);

impl<T> Mutex<T> {
    pub(crate) const fn new(value: T) -> Mutex<T> {
        Mutex(std::sync::Mutex::new(value))
    }

    /// Waits for the lock.
    pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
        self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

/// [`std::sync::RwLock`] without poisoning.
#[derive(Debug, Default)]
pub(crate) struct RwLock<T>(std::sync::RwLock<T>);

impl<T> RwLock<T> {
    pub(crate) const fn new(value: T) -> RwLock<T> {
        RwLock(std::sync::RwLock::new(value))
    }

    /// Waits until nobody writes.
    pub(crate) fn read(&self) -> RwLockReadGuard<'_, T> {
        self.0.read().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// Waits until nobody reads or writes.
    pub(crate) fn write(&self) -> RwLockWriteGuard<'_, T> {
        self.0.write().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_of_the_holder_does_not_close_a_lock() {
        let lock = Mutex::new(1);
        let gate = RwLock::new(());
        let panics = std::thread::scope(|scope| {
            let holder = scope.spawn(|| {
                let (mut value, _gate) = (lock.lock(), gate.write());
                *value = 2;
                panic!("while it holds both");
            });
            holder.join().is_err()
        });
        assert!(panics);
        assert_eq!(*lock.lock(), 2);
        drop((gate.read(), gate.read()));
    }
}
