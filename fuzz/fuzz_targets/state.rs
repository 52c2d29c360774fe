//! The state in a snapshot: read, checked, and what it says of devices put into devices.
#![no_main]

use libfuzzer_sys::fuzz_target;
use provium_devices::virtio::VirtioDevice;
use provium_devices::virtio::block::Block;
use provium_devices::virtio::rng::Rng;
use provium_devices::virtio::saved::DeviceState;
use provium_devices::virtio::vsock::Vsock;
use provium_fuzz::device::{Driver, memory};
use provium_vmm::untrusted;

fuzz_target!(|bytes: &[u8]| {
    let Ok(state) = untrusted::read_state(bytes) else {
        return;
    };
    let again = untrusted::state_payload(&state);
    assert!(
        untrusted::read_state(&again).is_ok(),
        "what was read can be written and read"
    );
    for saved in &state.devices.virtio {
        let device: Box<dyn VirtioDevice> = match saved.device {
            DeviceState::Vsock(_) => Box::new(Vsock::new(3)),
            DeviceState::Rng(_) => Box::new(Rng::new(None)),
            DeviceState::Block(_) => Box::new(Block::new().0),
            // The folders of a state that is not trusted are not for opening here.
            DeviceState::Fs(_) => continue,
        };
        let mut driver = Driver::new(device, memory());
        if driver.transport.restore(saved).is_ok() {
            assert_eq!(driver.transport.save(), *saved);
            driver.transport.kick();
        }
    }
});
