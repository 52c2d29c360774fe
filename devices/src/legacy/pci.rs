//! A PCI bus with nothing on it but its host bridge, through configuration mechanism 1 (PCI Local Bus
//! Specification 3.0, section 3.2.2.3.2).
//!
//! Input: accesses to the address and data ports. Output: the bridge's configuration space. Not here:
//! devices, base address registers, interrupts.
//!
//! Kernels built with PCI, as every kernel with ACPI has to be, look for a way to the configuration space and
//! complain on the console where there is none. This is that way.

use crate::BusDevice;

const ENABLE: u32 = 1 << 31;
/// Which device and register the data port stands for; of the bridge, all but the register is zero.
const DEVICE: u32 = 0x00ff_ff00;
const REGISTER: u32 = 0xfc;

const VENDOR_AND_DEVICE: u32 = 0x0008_1b36;
const CLASS_HOST_BRIDGE: u32 = 0x0600_0000;

/// The host bridge: the address port and the data port, four bytes each.
#[derive(Default)]
pub struct PciHostBridge {
    address: u32,
}

impl PciHostBridge {
    /// Bytes of register space, ports 0xcf8 to 0xcff.
    pub const SIZE: u64 = 8;

    /// The address register, which is all the state there is.
    pub fn save(&self) -> u32 {
        self.address
    }

    /// Puts the address register back; any value will do.
    pub fn restore(&mut self, address: u32) {
        self.address = address;
    }

    fn register(&self) -> u32 {
        if self.address & ENABLE == 0 || self.address & DEVICE != 0 {
            // What reads where no device answers.
            return u32::MAX;
        }
        match self.address & REGISTER {
            0x00 => VENDOR_AND_DEVICE,
            0x08 => CLASS_HOST_BRIDGE,
            _ => 0,
        }
    }
}

impl BusDevice for PciHostBridge {
    fn read(&mut self, offset: u64, data: &mut [u8]) {
        let register = if offset < 4 { self.address } else { self.register() };
        let bytes = register.to_le_bytes();
        let from = (offset % 4) as usize;
        for (index, byte) in data.iter_mut().enumerate() {
            *byte = bytes.get(from + index).copied().unwrap_or(0xff);
        }
    }

    fn write(&mut self, offset: u64, data: &[u8]) {
        // The address is written whole or not at all; the bridge has nothing to configure.
        if let (0, Ok(bytes)) = (offset, <[u8; 4]>::try_from(data)) {
            self.address = u32::from_le_bytes(bytes);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(bridge: &mut PciHostBridge, address: u32, offset: u64, len: usize) -> Vec<u8> {
        bridge.write(0, &address.to_le_bytes());
        let mut data = vec![0; len];
        bridge.read(4 + offset, &mut data);
        data
    }

    #[test]
    fn the_bridge_answers_and_nobody_else() {
        let mut bridge = PciHostBridge::default();
        assert_eq!(read(&mut bridge, ENABLE, 0, 4), [0x36, 0x1b, 0x08, 0x00]);
        assert_eq!(
            read(&mut bridge, ENABLE | 8, 2, 2),
            [0x00, 0x06],
            "class and subclass"
        );
        assert_eq!(
            read(&mut bridge, ENABLE | (1 << 11), 0, 4),
            [0xff; 4],
            "no second device"
        );
        assert_eq!(
            read(&mut bridge, ENABLE | (1 << 8), 0, 2),
            [0xff; 2],
            "no second function"
        );
        assert_eq!(read(&mut bridge, 0, 0, 4), [0xff; 4], "not enabled");
    }

    #[test]
    fn the_address_reads_back_and_odd_accesses_change_nothing() {
        let mut bridge = PciHostBridge::default();
        bridge.write(0, &0x8000_0000u32.to_le_bytes());
        bridge.write(3, &[1]);
        bridge.write(4, &[1, 2, 3, 4]);
        let mut data = [0; 4];
        bridge.read(0, &mut data);
        assert_eq!(u32::from_le_bytes(data), 0x8000_0000);
        let mut straddling = [0; 4];
        bridge.read(6, &mut straddling);
        assert_eq!(straddling[2..], [0xff; 2]);
    }
}
