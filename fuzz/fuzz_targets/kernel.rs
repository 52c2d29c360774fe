//! Kernels and initrds: bzImage, ELF, anything.
//!
//! Input: a file. Output: panics. Not here: the machine that would run it.
#![no_main]

use std::fs::File;
use std::io::{Seek, Write};
use std::os::fd::AsRawFd;
use std::path::PathBuf;

use libfuzzer_sys::fuzz_target;
use provium_devices::GuestRam;
use provium_fuzz::seeds;
use provium_vmm::untrusted;
use vm_memory::GuestAddress;

/// Guest memory: enough for a kernel of a few pages.
const MEMORY: usize = 4 << 20;

thread_local! {
    static RAM: GuestRam = GuestRam::from_ranges(&[(GuestAddress(0), MEMORY)]).expect("a little memory");
    static FILE: File = tempfile::tempfile_in(folder()).expect("a file");
}

fn folder() -> PathBuf {
    let memory = PathBuf::from("/dev/shm");
    if memory.is_dir() {
        memory
    } else {
        std::env::temp_dir()
    }
}

/// A bzImage and an ELF file with nothing in them.
fn first_inputs() -> Vec<Vec<u8>> {
    let mut bzimage = vec![0; 5 * 512 + 64];
    for (at, bytes) in [
        (0x1f1, &[4][..]),
        (0x1f4, &[4]),
        (0x1fe, &[0x55, 0xaa]),
        (0x202, b"HdrS\x0f\x02"),
        (0x211, &[1]),
        (0x214, &[0, 0, 0x10, 0]),
        (0x22c, &[0xff, 0xff, 0xff, 0x7f]),
        (0x236, &[1]),
        (0x258, &[0, 0, 0x10, 0]),
        (0x260, &[0, 0, 0x10, 0]),
    ] {
        bzimage[at..at + bytes.len()].copy_from_slice(bytes);
    }
    let mut elf = vec![0; 256];
    for (at, bytes) in [
        (0, &b"\x7fELF\x02\x01"[..]),
        (16, &[2, 0, 62, 0]),
        (26, &[0x10]),
        (32, &[64]),
        (54, &[56, 0, 1]),
        (64, &[1]),
        (72, &[128]),
        (90, &[0x10]),
        (96, &[64]),
        (104, &[64]),
    ] {
        elf[at..at + bytes.len()].copy_from_slice(bytes);
    }
    vec![bzimage, elf]
}

fuzz_target!(
    init: seeds::plant(first_inputs()),
    |bytes: &[u8]| {
        FILE.with(|mut file| {
            file.set_len(0).expect("an empty file");
            file.rewind().expect("the file's start");
            file.write_all(bytes).expect("write the file");
            let path = PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd()));
            // The same file is the initrd: whatever it is, it is copied as it is.
            let initrd = bytes.len().is_multiple_of(2).then_some(path.as_path());
            let _ = RAM.with(|ram| untrusted::load_kernel(ram, &path, initrd, "quiet"));
        });
    }
);
