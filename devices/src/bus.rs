//! A bus: address ranges and the devices behind them.
//!
//! Input: an access at an absolute address. Output: the same access at an offset of the one device that
//! covers it. Not here: which device is where. An access nobody covers reads as all ones and is lost on
//! writing, as on a PC.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;

/// A device with registers on a bus; called with its lock held, on a vCPU's thread.
pub trait BusDevice: Send {
    /// Reads `data.len()` bytes (1, 2, 4 or 8) at `offset` from the device's base.
    fn read(&mut self, offset: u64, data: &mut [u8]);
    /// Writes `data` (1, 2, 4 or 8 bytes) at `offset` from the device's base.
    fn write(&mut self, offset: u64, data: &[u8]);
    /// Whether a write has begun something that is not finished, so that no access takes long.
    fn is_busy(&self) -> bool {
        false
    }
    /// Does the next part of that.
    fn go_on(&mut self) {}
}

/// A range of addresses that cannot be put on the bus.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("bus range {base:#x}+{len:#x} is empty, wraps around or overlaps one that is there")]
pub struct BusError {
    /// First address of the range.
    pub base: u64,
    /// Bytes of the range.
    pub len: u64,
}

struct BusRange {
    len: u64,
    device: Arc<Mutex<dyn BusDevice>>,
}

/// A space of addresses, port I/O or memory-mapped I/O, with its devices.
#[derive(Default)]
pub struct Bus {
    slots: BTreeMap<u64, BusRange>,
}

impl Bus {
    /// Puts a device at the addresses `base..base + len`.
    ///
    /// # Errors
    /// [`BusError`] when the range is empty, wraps around or is taken in part.
    pub fn insert(&mut self, base: u64, len: u64, device: Arc<Mutex<dyn BusDevice>>) -> Result<(), BusError> {
        let error = BusError { base, len };
        let last = base.checked_add(len.checked_sub(1).ok_or(error)?).ok_or(error)?;
        if let Some((&other, slot)) = self.slots.range(..=last).next_back()
            && other + (slot.len - 1) >= base
        {
            return Err(error);
        }
        self.slots.insert(base, BusRange { len, device });
        Ok(())
    }

    fn find(&self, address: u64, size: usize) -> Option<(u64, &Mutex<dyn BusDevice>)> {
        let (&base, slot) = self.slots.range(..=address).next_back()?;
        let offset = address - base;
        // An access that straddles the end of a device belongs to nobody.
        (offset.checked_add(size as u64)? <= slot.len).then_some((offset, &*slot.device))
    }

    /// Reads at an absolute address; all ones where nothing is.
    pub fn read(&self, address: u64, data: &mut [u8]) {
        match self.find(address, data.len()) {
            Some((offset, device)) => {
                device.lock().read(offset, data);
            }
            None => data.fill(0xff),
        }
    }

    /// Writes at an absolute address; ignored where nothing is. Whether the device is [busy] with it then:
    /// whoever wrote [goes on](Self::go_on) before anything else of the guest's.
    ///
    /// [busy]: BusDevice::is_busy
    pub fn write(&self, address: u64, data: &[u8]) -> bool {
        self.find(address, data.len()).is_some_and(|(offset, device)| {
            let mut device = device.lock();
            device.write(offset, data);
            device.is_busy()
        })
    }

    /// Lets the device at an address go on with what it is busy with; whether it still is then. Its lock is
    /// free in between.
    pub fn go_on(&self, address: u64) -> bool {
        self.find(address, 1).is_some_and(|(_, device)| {
            let mut device = device.lock();
            device.go_on();
            device.is_busy()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Default)]
    struct Register(u8);
    impl BusDevice for Register {
        fn read(&mut self, offset: u64, data: &mut [u8]) {
            data.fill(self.0 + offset as u8);
        }
        fn write(&mut self, _offset: u64, data: &[u8]) {
            self.0 = data[0];
        }
    }

    fn register() -> Arc<Mutex<dyn BusDevice>> {
        Arc::new(Mutex::new(Register(7)))
    }

    #[test]
    fn accesses_reach_the_device_that_covers_them_and_nobody_else() {
        let mut bus = Bus::default();
        bus.insert(0x10, 4, register()).unwrap();
        bus.insert(0x14, 4, register()).unwrap();
        bus.write(0x15, &[40]);
        let mut byte = [0];
        for (address, expected) in [
            (0x0f, 0xff),
            (0x10, 7),
            (0x13, 10),
            (0x14, 40),
            (0x17, 43),
            (0x18, 0xff),
        ] {
            bus.read(address, &mut byte);
            assert_eq!(byte[0], expected, "at {address:#x}");
        }
        let mut word = [0; 4];
        bus.read(0x12, &mut word);
        assert_eq!(word, [0xff; 4], "an access across two devices reaches neither");
    }

    #[test]
    fn overlapping_empty_and_wrapping_ranges_are_refused() {
        let mut bus = Bus::default();
        bus.insert(0x100, 0x10, register()).unwrap();
        for (base, len) in [
            (0x100, 1),
            (0x10f, 1),
            (0xf8, 9),
            (0, 0x1000),
            (0x105, 2),
            (5, 0),
            (u64::MAX, 2),
        ] {
            assert_eq!(
                bus.insert(base, len, register()),
                Err(BusError { base, len }),
                "{base:#x}+{len:#x}"
            );
        }
        bus.insert(0x110, 1, register()).unwrap();
        bus.insert(0xff, 1, register()).unwrap();
    }
}
