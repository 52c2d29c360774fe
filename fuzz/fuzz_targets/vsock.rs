//! The socket device, with guest and host at both its ends and its documented bounds checked after each step.
#![no_main]

use libfuzzer_sys::fuzz_target;
use provium_devices::virtio::vsock::Vsock;
use provium_fuzz::device::{Driver, memory};
use provium_fuzz::input::Input;
use provium_fuzz::seeds;
use provium_fuzz::sockets::Sockets;

fuzz_target!(
    init: seeds::plant(seeds::random()),
    |bytes: &[u8]| {
        let device = Vsock::new(3);
        let mut sockets = Sockets::new(device.clone());
        Driver::new(Box::new(device), memory()).run(&mut sockets, &mut Input::new(bytes));
    }
);
