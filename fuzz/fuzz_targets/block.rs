//! A disk's device in front of a medium that holds it to its bounds.
#![no_main]

use libfuzzer_sys::fuzz_target;
use provium_devices::virtio::block::Block;
use provium_fuzz::device::{Driver, memory};
use provium_fuzz::disk::Slot;
use provium_fuzz::input::Input;
use provium_fuzz::seeds;

fuzz_target!(
    init: seeds::plant(seeds::random()),
    |bytes: &[u8]| {
        let (device, handle) = Block::new();
        let mut slot = Slot::new(handle);
        Driver::new(Box::new(device), memory()).run(&mut slot, &mut Input::new(bytes));
    }
);
