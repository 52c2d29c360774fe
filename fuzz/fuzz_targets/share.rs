//! Shared folders: requests of FUSE, by the device's rings and straight to the server, from a guest that
//! wants out.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use provium_devices::virtio::fs::{FileServer, Fs};
use provium_fuzz::device::{Driver, memory};
use provium_fuzz::folder::{Outside, request};
use provium_fuzz::input::Input;
use provium_fuzz::seeds;
use provium_vmm::share::ShareServer;

static OUTSIDE: LazyLock<Outside> = LazyLock::new(Outside::new);

fuzz_target!(
    init: seeds::plant(seeds::random()),
    |bytes: &[u8]| {
        let mut input = Input::new(bytes);
        let outside = &*OUTSIDE;
        let choice = input.u8();
        let folders = [
            outside.shared(choice & 1 != 0, choice & 2 != 0),
            outside.shared(false, false),
        ];
        let mut server = ShareServer::new(&folders).expect("a server");
        if choice & 4 != 0 {
            Driver::new(Box::new(Fs::new(Box::new(server))), memory()).run(&mut &*outside, &mut input);
        } else {
            let mut answer = Vec::new();
            while !input.is_over() {
                let room = input.pick(&[1 << 17, 4096, 150, 16, 0]);
                server.answer(&request(&mut input), room, &mut answer);
                assert!(
                    answer.len() <= room.max(16),
                    "{} bytes for room of {room}",
                    answer.len()
                );
                outside.check_answer(&answer);
                if input.u8() == 255 {
                    let state = server.save();
                    server.restore(&state).expect("what was saved");
                    assert_eq!(server.save(), state);
                }
            }
        }
        if choice & 1 != 0 {
            outside.check();
            outside.fill();
        }
    }
);
