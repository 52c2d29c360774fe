//! The random number device, through its registers and its ring.
#![no_main]

use libfuzzer_sys::fuzz_target;
use provium_devices::virtio::rng::Rng;
use provium_fuzz::device::{Driver, Nobody, memory};
use provium_fuzz::input::Input;
use provium_fuzz::seeds;

fuzz_target!(
    init: seeds::plant(seeds::random()),
    |bytes: &[u8]| {
        let mut input = Input::new(bytes);
        let seed = (input.u8() & 1 != 0).then_some(7);
        Driver::new(Box::new(Rng::new(seed)), memory()).run(&mut Nobody, &mut input);
    }
);
