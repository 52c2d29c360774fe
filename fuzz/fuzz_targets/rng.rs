//! The random number device, through its registers and its ring.
#![no_main]

use libfuzzer_sys::fuzz_target;
use provium_devices::virtio::rng::Rng;
use provium_fuzz::device::{Driver, Host, memory};
use provium_fuzz::input::Input;
use provium_fuzz::seeds;

struct Nobody;

impl Host for Nobody {
    fn act(&mut self, driver: &mut Driver, input: &mut Input<'_>) {
        driver.send(0, &[], u32::from(input.u16()));
    }

    fn check(&mut self, _driver: &Driver) {}
}

fuzz_target!(
    init: seeds::plant(seeds::random()),
    |bytes: &[u8]| {
        let mut input = Input::new(bytes);
        let seed = (input.u8() & 1 != 0).then_some(7);
        Driver::new(Box::new(Rng::new(seed)), memory()).run(&mut Nobody, &mut input);
    }
);
