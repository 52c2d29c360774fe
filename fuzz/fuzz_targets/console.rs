//! What a guest prints: its kernel's splats are found in it, whatever it is.
#![no_main]

use libfuzzer_sys::fuzz_target;
use provium_fuzz::seeds;

/// Heads of splats, and lines that end them.
fn first_inputs() -> Vec<Vec<u8>> {
    [
        "[    1.0] BUG: unable to handle page fault for address: 0000\n[    1.0] Call Trace:\n[    1.0]  f+0x1/0x2\n[    1.0] ---[ end trace 0000000000000000 ]---\n",
        "[    1.0] ------------[ cut here ]------------\n[    1.0] WARNING: CPU: 0 PID: 1 at f.c:1 f+0x1/0x2\n[    1.0] Modules linked in:\n",
        "[    1.0][  T1] Kernel panic - not syncing: x\n[    1.0] ---[ end Kernel panic - not syncing: x ]---\n",
        "==================================================================\n[ 1.0] BUG: KASAN: slab-out-of-bounds in f+0x1/0x2\n",
        "======================================================\nWARNING: possible circular locking dependency detected\n",
    ]
    .map(|text| text.as_bytes().to_vec())
    .to_vec()
}

fuzz_target!(
    init: seeds::plant(first_inputs()),
    |bytes: &[u8]| {
        let found = provium_vmm::splats_in(bytes);
        assert!(found.len() <= bytes.len(), "more splats than bytes");
    }
);
