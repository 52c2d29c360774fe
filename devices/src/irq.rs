//! Interrupt lines as devices see them: a level that goes up and down.
//!
//! Input: levels, from devices. Output: a call of whoever implements [`IrqLine`]: the monitor on KVM, tests
//! with
//! [`FakeLine`]. Not here: which interrupt controller listens.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

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
