//! Interrupt lines as devices see them: a level that goes up and down.
//!
//! Input: levels, from devices. Output: a call of whoever implements [`IrqLine`]: the monitor on KVM, tests
//! with
//! [`FakeLine`]. Not here: which interrupt controller listens.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use parking_lot::Mutex;

/// One line to the interrupt controller.
pub trait IrqLine: Send + Sync {
    /// Drives the line. Calls with an unchanged level are harmless.
    fn set_level(&self, high: bool);

    /// Makes one edge: up, then down, for devices on edge-triggered pins.
    fn pulse(&self) {
        self.set_level(true);
        self.set_level(false);
    }
}

/// One line for several devices: it is high while any of them wants it high.
pub struct SharedLine {
    line: Arc<dyn IrqLine>,
    /// The devices that want it high, a bit each. The line is driven under the lock.
    wanted: Mutex<u32>,
}

/// The end of a [`SharedLine`] that one device has.
struct LineInput {
    shared: Arc<SharedLine>,
    bit: u32,
}

impl SharedLine {
    /// The ends of `line` for `devices` of them, at most 32.
    pub fn split(line: Arc<dyn IrqLine>, devices: u32) -> Vec<Arc<dyn IrqLine>> {
        let shared = Arc::new(SharedLine {
            line,
            wanted: Mutex::new(0),
        });
        let input = |index| LineInput {
            shared: Arc::clone(&shared),
            bit: 1u32 << index,
        };
        (0..devices).map(|index| Arc::new(input(index)) as _).collect()
    }
}

impl IrqLine for LineInput {
    fn set_level(&self, high: bool) {
        let mut wanted = self.shared.wanted.lock();
        match high {
            true => *wanted |= self.bit,
            false => *wanted &= !self.bit,
        }
        self.shared.line.set_level(*wanted != 0);
    }
}

/// A line that remembers its level and counts its edges, for tests.
#[derive(Debug, Default)]
pub struct FakeLine {
    high: AtomicBool,
    rises: AtomicUsize,
}

impl FakeLine {
    /// Whether the line is high now.
    pub fn is_high(&self) -> bool {
        self.high.load(Ordering::SeqCst)
    }

    /// How often it has gone from low to high.
    pub fn rises(&self) -> usize {
        self.rises.load(Ordering::SeqCst)
    }
}

impl IrqLine for FakeLine {
    fn set_level(&self, high: bool) {
        if high && !self.high.swap(true, Ordering::SeqCst) {
            self.rises.fetch_add(1, Ordering::SeqCst);
        } else if !high {
            self.high.store(false, Ordering::SeqCst);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shared_line_is_high_while_any_device_wants_it() {
        let line = Arc::new(FakeLine::default());
        let ends = SharedLine::split(line.clone(), 2);
        ends[0].set_level(true);
        ends[1].set_level(true);
        ends[0].set_level(false);
        assert!(line.is_high());
        ends[1].set_level(false);
        assert!(!line.is_high());
        ends[0].pulse();
        assert!(!line.is_high());
        assert_eq!(line.rises(), 2);
    }
}
