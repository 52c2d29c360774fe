//! The registers that a PC has had for ever: serial port, power, keyboard controller, PCI, by accesses of any
//! width at any address of their bus.
//!
//! Input: choices. Output: panics. Not here: the bus on which virtio devices are.
#![no_main]

use std::sync::Arc;

use libfuzzer_sys::fuzz_target;
use parking_lot::Mutex;
use provium_devices::Bus;
use provium_devices::irq::FakeLine;
use provium_devices::legacy::pci::PciHostBridge;
use provium_devices::legacy::power::{AcpiPower, KeyboardReset, PanicNotifier, PowerListener};
use provium_devices::legacy::serial::SerialPort;
use provium_fuzz::input::Input;
use provium_fuzz::seeds;

fuzz_target!(
    init: seeds::plant(seeds::random()),
    |bytes: &[u8]| {
        let mut input = Input::new(bytes);
        let serial = Arc::new(Mutex::new(SerialPort::new(
            Arc::new(FakeLine::default()),
            Vec::new(),
        )));
        let pci = Arc::new(Mutex::new(PciHostBridge::default()));
        let listener = || -> PowerListener { Arc::new(|_| ()) };
        let mut bus = Bus::default();
        bus.insert(0x3f8, 8, serial.clone()).expect("a free place");
        bus.insert(0xcf8, 8, pci.clone()).expect("a free place");
        bus.insert(0x60, 5, Arc::new(Mutex::new(KeyboardReset::new(listener()))))
            .expect("a free place");
        bus.insert(0x505, 1, Arc::new(Mutex::new(PanicNotifier::new(listener()))))
            .expect("a free place");
        bus.insert(0x600, 8, Arc::new(Mutex::new(AcpiPower::new(listener()))))
            .expect("a free place");
        while !input.is_over() {
            let base = input.pick(&[0x3f8, 0xcf8, 0x60, 0x505, 0x600, 0]);
            let address = base + u64::from(input.u8() & 15);
            let mut data = input.u64().to_le_bytes();
            let width = input.pick(&[1, 2, 4, 8]);
            match input.below(8) {
                0..=2 => {
                    if bus.write(address, &data[..width]) {
                        bus.go_on(address);
                    }
                }
                3..=4 => bus.read(address, &mut data[..width]),
                5 => drop(serial.lock().type_bytes(input.bytes())),
                6 => drop(serial.lock().offer(input.bytes())),
                _ => {
                    let state = serial.lock().save();
                    let mut bytes = rmp_serde::to_vec(&state).expect("plain data");
                    for _ in 0..input.below(3) {
                        let at = usize::from(input.u16()) % bytes.len();
                        bytes[at] = input.u8();
                    }
                    if let Ok(other) = rmp_serde::from_slice(&bytes)
                        && serial.lock().restore(&other).is_err()
                    {
                        assert_eq!(
                            serial.lock().save(),
                            state,
                            "a state that is refused changes nothing"
                        );
                    }
                    pci.lock().restore(input.u32());
                }
            }
        }
    }
);
