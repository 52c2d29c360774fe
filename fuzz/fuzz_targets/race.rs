//! Every device, while another processor of the guest scribbles over rings, tables and buffers: what was
//! checked must be what is used.
#![no_main]

use std::sync::atomic::{AtomicBool, Ordering};

use libfuzzer_sys::fuzz_target;
use provium_devices::virtio::block::Block;
use provium_devices::virtio::rng::Rng;
use provium_devices::virtio::vsock::Vsock;
use provium_fuzz::device::{Driver, Nobody, memory, scribble};
use provium_fuzz::disk::Slot;
use provium_fuzz::input::Input;
use provium_fuzz::seeds;
use provium_fuzz::sockets::Sockets;

fuzz_target!(
    init: seeds::plant(seeds::random()),
    |bytes: &[u8]| {
        let mut input = Input::new(bytes);
        let (ram, over) = (memory(), AtomicBool::new(false));
        let (kind, seed) = (input.u8(), input.u64());
        std::thread::scope(|scope| {
            let (other, over) = (ram.clone(), &over);
            scope.spawn(move || scribble(&other, seed, over));
            match kind % 3 {
                0 => Driver::new(Box::new(Rng::new(Some(7))), ram).run(&mut Nobody, &mut input),
                1 => {
                    let (device, handle) = Block::new();
                    Driver::new(Box::new(device), ram).run(&mut Slot::new(handle), &mut input);
                }
                _ => {
                    let device = Vsock::new(3);
                    let mut sockets = Sockets::new(device.clone());
                    Driver::new(Box::new(device), ram).run(&mut sockets, &mut input);
                }
            }
            over.store(true, Ordering::Relaxed);
        });
    }
);
