//! Frames of the protocol, as either side reads them of the other, and listings of folders.
#![no_main]

use libfuzzer_sys::fuzz_target;
use provium_fuzz::seeds;
use provium_protocol::{Frame, decode_listing, encode_listing, read_frame, write_frame};

/// A frame of each kind that needs no request to be written down here.
fn first_inputs() -> Vec<Vec<u8>> {
    let frames = [
        Frame::Data {
            channel: 1,
            bytes: b"output".to_vec(),
        },
        Frame::End { channel: 0 },
        Frame::Request(provium_protocol::Request::Ping),
    ];
    let wire = |frame: &Frame| {
        let mut wire = Vec::new();
        write_frame(&mut wire, frame).map(|()| wire)
    };
    frames.iter().filter_map(|frame| wire(frame).ok()).collect()
}

fuzz_target!(
    init: seeds::plant(first_inputs()),
    |bytes: &[u8]| {
        let mut rest = bytes;
        while let Ok(frame) = read_frame(&mut rest) {
            let mut wire = Vec::new();
            write_frame(&mut wire, &frame).expect("what was read can be written");
            let again = read_frame(&mut &wire[..]).expect("what was written can be read");
            assert_eq!(again, frame);
        }
        if let Ok(entries) = decode_listing(bytes) {
            let wire = encode_listing(&entries).expect("what was read can be written");
            assert_eq!(decode_listing(&wire).expect("what was written can be read"), entries);
        }
    }
);
