//! A virtio device's interrupt: the status bits the driver reads and acknowledges, and the line.
//!
//! Input: events of the device, acknowledgements of the driver. Output: levels of a line. Not here: whether
//! the driver wants to be notified, which is the queue's.
//!
//! There are two kinds. Of the one that is acknowledged, the line is high while any bit is set. A bit that is
//! set between the driver's read and its acknowledgement makes a new edge, so that a kernel which takes the
//! pin's edges loses nothing. By the ACPI tables it does: a level would cost it two more exits each time, one
//! to see that it was a level and one to tell the interrupt controller.
//!
//! The other is for registers that the guest reads without leaving: each event is one edge, the bit for used
//! buffers is always set, and an acknowledgement changes nothing, so that none has to arrive. A driver that
//! is interrupted looks at its used rings whatever the bit says, and an edge that comes while it does makes
//! it look again.

use std::sync::Arc;

use parking_lot::Mutex;
use virtio_bindings::virtio_mmio::{VIRTIO_MMIO_INT_CONFIG, VIRTIO_MMIO_INT_VRING};

use crate::IrqLine;

const USED_BUFFER: u32 = VIRTIO_MMIO_INT_VRING;
const CONFIG_CHANGE: u32 = VIRTIO_MMIO_INT_CONFIG;

/// The registers InterruptStatus and InterruptACK, and the line behind them.
pub struct Interrupt {
    status: Mutex<u32>,
    line: Arc<dyn IrqLine>,
    /// Whether each event is an edge of its own, and none is acknowledged.
    pulsed: bool,
}

impl Interrupt {
    /// An interrupt on `line`, with nothing pending.
    pub fn new(line: Arc<dyn IrqLine>) -> Self {
        Self {
            status: Mutex::new(0),
            line,
            pulsed: false,
        }
    }

    /// An interrupt on `line` whose events are edges, which nobody acknowledges.
    pub fn pulsed(line: Arc<dyn IrqLine>) -> Self {
        Self {
            status: Mutex::new(USED_BUFFER),
            line,
            pulsed: true,
        }
    }

    /// The line that it drives.
    pub(super) fn line(&self) -> Arc<dyn IrqLine> {
        Arc::clone(&self.line)
    }

    /// Tells the driver that a used ring has news.
    pub fn used_buffer(&self) {
        self.raise(USED_BUFFER);
    }

    /// Tells the driver that config space or the status register has changed.
    pub fn config_change(&self) {
        self.raise(CONFIG_CHANGE);
    }

    fn raise(&self, bit: u32) {
        let mut status = self.status.lock();
        if self.pulsed {
            *status |= bit;
            return self.line.pulse();
        }
        // The lock is held over the line's change, so that line and bits never disagree.
        if *status == 0 {
            self.line.set_level(true);
        }
        *status |= bit;
    }

    /// The status bits that are pending.
    pub fn status(&self) -> u32 {
        *self.status.lock()
    }

    /// Puts saved status bits back and drives the line accordingly, whatever its level was.
    pub fn restore(&self, bits: u32) {
        let mut status = self.status.lock();
        *status = bits & (USED_BUFFER | CONFIG_CHANGE);
        if self.pulsed {
            // The edges that the driver has not seen are in the interrupt controllers' own state.
            *status |= USED_BUFFER;
            return;
        }
        self.line.set_level(*status != 0);
    }

    /// Clears status bits that the driver has seen.
    pub fn acknowledge(&self, bits: u32) {
        let mut status = self.status.lock();
        if self.pulsed || *status & bits == 0 {
            return;
        }
        *status &= !bits;
        self.line.set_level(false);
        if *status != 0 {
            self.line.set_level(true);
        }
    }

    /// Clears all status bits: the device was reset.
    pub fn clear(&self) {
        match self.pulsed {
            true => *self.status.lock() = USED_BUFFER,
            false => self.acknowledge(u32::MAX),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::irq::FakeLine;

    #[test]
    fn the_line_is_high_while_anything_is_pending() {
        let line = Arc::new(FakeLine::default());
        let interrupt = Interrupt::new(line.clone());
        interrupt.used_buffer();
        interrupt.used_buffer();
        assert!(line.is_high());
        assert_eq!(
            (interrupt.status(), line.rises()),
            (1, 1),
            "a pending interrupt is not raised twice"
        );
        interrupt.config_change();
        interrupt.acknowledge(1);
        assert!(line.is_high());
        assert_eq!(
            (interrupt.status(), line.rises()),
            (2, 2),
            "what is left makes a new edge"
        );
        interrupt.acknowledge(1);
        assert!(
            line.is_high(),
            "acknowledging what is not pending changes nothing"
        );
        interrupt.clear();
        assert!(!line.is_high());
        assert_eq!(interrupt.status(), 0);
    }

    #[test]
    fn each_event_of_a_pulsed_interrupt_is_an_edge() {
        let line = Arc::new(FakeLine::default());
        let interrupt = Interrupt::pulsed(line.clone());
        for edges in 1..4 {
            interrupt.used_buffer();
            assert_eq!(
                (line.is_high(), line.rises(), interrupt.status()),
                (false, edges, 1)
            );
        }
        interrupt.acknowledge(1);
        assert_eq!(interrupt.status(), 1, "who reads it later is told the same");
        interrupt.config_change();
        assert_eq!((interrupt.status(), line.rises()), (3, 4));
        let saved = interrupt.status();
        interrupt.clear();
        assert_eq!(interrupt.status(), 1);
        interrupt.restore(saved);
        assert_eq!((interrupt.status(), line.rises(), line.is_high()), (3, 4, false));
    }
}
