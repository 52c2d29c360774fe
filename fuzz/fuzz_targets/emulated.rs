//! What comes out of the emulated host: its frames, and the events in what a run there prints.
#![no_main]

use libfuzzer_sys::fuzz_target;
use provium_base::events::Event;

fuzz_target!(|bytes: &[u8]| {
    let Some((choice, bytes)) = bytes.split_first() else {
        return;
    };
    if choice & 1 != 0 {
        let _ = provium_emulated::count_messages(bytes, usize::from(*choice));
    } else if let Ok(event) = rmp_serde::from_slice::<Event>(bytes) {
        // One with a path that is not text, or a float that is no number, has no other side.
        if let Ok(again) = rmp_serde::to_vec_named(&event) {
            rmp_serde::from_slice::<Event>(&again).expect("what was written can be read");
        }
    }
});
