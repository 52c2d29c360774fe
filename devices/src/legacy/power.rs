//! How a guest ends itself or tells that it has: power off, restart, panic.
//!
//! Input: writes to four little register blocks. Output: [`PowerEvent`]s to one listener. Not here: what an
//! event means for the machine.
//!
//! - ACPI sleep control and reset registers (ACPI 6.5, 4.8.3.7 and 4.8.3.6), for hardware-reduced kernels;
//! - the i8042 keyboard controller's reset line, for kernels without ACPI;
//! - pvpanic (QEMU's `docs/specs/pvpanic`), by which a kernel says that it has panicked.

use std::convert::Infallible;
use std::sync::Arc;

use vm_superio::{I8042Device, Trigger};

use crate::BusDevice;

/// What the guest did to its power.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PowerEvent {
    /// It powered off: soft-off, ACPI S5.
    PowerOff,
    /// It asked for a restart.
    Reset,
    /// Its kernel panicked, and may still print why.
    Panicked,
}

/// A function that is called with each power event, on the vCPU thread that caused it.
pub type PowerListener = Arc<dyn Fn(PowerEvent) + Send + Sync>;

/// The ACPI reset, sleep control and sleep status registers, one byte each, in this order.
pub struct AcpiPower {
    listener: PowerListener,
}

impl AcpiPower {
    /// Bytes of register space.
    pub const SIZE: u64 = 3;
    /// Offset of the reset register.
    pub const RESET: u64 = 0;
    /// Offset of the sleep control register.
    pub const SLEEP_CONTROL: u64 = 1;
    /// Offset of the sleep status register.
    pub const SLEEP_STATUS: u64 = 2;
    /// The value that resets, as the FADT says.
    pub const RESET_VALUE: u8 = 1;
    /// Sleep type of S5, as the DSDT's `_S5_` says.
    pub const S5: u8 = 5;

    const SLEEP_ENABLE: u8 = 1 << 5;

    /// Reports to `listener`.
    pub fn new(listener: PowerListener) -> Self {
        Self { listener }
    }
}

impl BusDevice for AcpiPower {
    fn read(&mut self, _offset: u64, data: &mut [u8]) {
        data.fill(0);
    }

    fn write(&mut self, offset: u64, data: &[u8]) {
        match (offset, data) {
            (Self::RESET, &[Self::RESET_VALUE]) => (self.listener)(PowerEvent::Reset),
            (Self::SLEEP_CONTROL, &[value])
                if value & Self::SLEEP_ENABLE != 0 && (value >> 2) & 7 == Self::S5 =>
            {
                (self.listener)(PowerEvent::PowerOff);
            }
            _ => {}
        }
    }
}

/// pvpanic: one byte that a panicking kernel writes.
pub struct PanicNotifier {
    listener: PowerListener,
}

impl PanicNotifier {
    const PANICKED: u8 = 1;

    /// Reports to `listener`.
    pub fn new(listener: PowerListener) -> Self {
        Self { listener }
    }
}

impl BusDevice for PanicNotifier {
    fn read(&mut self, _offset: u64, data: &mut [u8]) {
        // The events this device takes note of.
        data.fill(0);
        data[0] = Self::PANICKED;
    }

    fn write(&mut self, _offset: u64, data: &[u8]) {
        if data[0] & Self::PANICKED != 0 {
            (self.listener)(PowerEvent::Panicked);
        }
    }
}

/// The keyboard controller, of which only the reset line is wired.
pub struct KeyboardReset(I8042Device<ResetLine>);

struct ResetLine(PowerListener);

impl Trigger for ResetLine {
    type E = Infallible;

    fn trigger(&self) -> Result<(), Infallible> {
        (self.0)(PowerEvent::Reset);
        Ok(())
    }
}

impl KeyboardReset {
    /// Bytes of register space, ports 0x60 to 0x64.
    pub const SIZE: u64 = 5;

    /// Reports to `listener`.
    pub fn new(listener: PowerListener) -> Self {
        Self(I8042Device::new(ResetLine(listener)))
    }
}

impl BusDevice for KeyboardReset {
    fn read(&mut self, offset: u64, data: &mut [u8]) {
        data.fill(0);
        data[0] = self.0.read(offset as u8);
    }

    fn write(&mut self, offset: u64, data: &[u8]) {
        let Ok(()) = self.0.write(offset as u8, data[0]);
    }
}

#[cfg(test)]
mod tests {
    use parking_lot::Mutex;

    use super::*;

    fn recorder() -> (Arc<Mutex<Vec<PowerEvent>>>, PowerListener) {
        let events = Arc::new(Mutex::new(Vec::new()));
        let sink = Arc::clone(&events);
        (events, Arc::new(move |event| sink.lock().push(event)))
    }

    #[test]
    fn only_s5_with_the_enable_bit_powers_off() {
        let (events, listener) = recorder();
        let mut power = AcpiPower::new(listener);
        power.write(AcpiPower::SLEEP_CONTROL, &[5 << 2]);
        power.write(AcpiPower::SLEEP_CONTROL, &[(3 << 2) | 0x20]);
        power.write(AcpiPower::SLEEP_STATUS, &[(5 << 2) | 0x20]);
        power.write(AcpiPower::RESET, &[0]);
        assert!(events.lock().is_empty());
        power.write(AcpiPower::SLEEP_CONTROL, &[(5 << 2) | 0x20]);
        power.write(AcpiPower::RESET, &[1]);
        assert_eq!(*events.lock(), [PowerEvent::PowerOff, PowerEvent::Reset]);
    }

    #[test]
    fn the_keyboard_controller_resets_on_its_pulse_command() {
        let (events, listener) = recorder();
        let mut keyboard = KeyboardReset::new(listener);
        keyboard.write(4, &[0xd1]);
        assert!(events.lock().is_empty());
        keyboard.write(4, &[0xfe]);
        assert_eq!(*events.lock(), [PowerEvent::Reset]);
    }

    #[test]
    fn pvpanic_announces_and_hears_a_panic() {
        let (events, listener) = recorder();
        let mut notifier = PanicNotifier::new(listener);
        let mut byte = [0];
        notifier.read(0, &mut byte);
        assert_eq!(byte[0], 1);
        notifier.write(0, &[2]);
        assert!(events.lock().is_empty());
        notifier.write(0, &[1]);
        assert_eq!(*events.lock(), [PowerEvent::Panicked]);
    }
}
