//! No sender can make the reader allocate more than a frame's worth at once, or a few of them in all.
//! One test in a file of its own: the allocator counts for the whole process.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use provium_protocol::{MAX_FRAME, MAX_LISTING, decode_listing, read_frame};

struct Counting;

static LARGEST: AtomicUsize = AtomicUsize::new(0);
static LIVE: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);

fn grown(largest: usize, by: usize) {
    LARGEST.fetch_max(largest, Relaxed);
    PEAK.fetch_max(LIVE.fetch_add(by, Relaxed) + by, Relaxed);
}

// SAFETY: every call is passed on unchanged to the system's allocator, which keeps the contract; the counters
// are atomics and allocate nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        grown(layout.size(), layout.size());
        // SAFETY: the caller keeps `GlobalAlloc`'s contract.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        grown(layout.size(), layout.size());
        // SAFETY: the caller keeps `GlobalAlloc`'s contract.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        grown(size, size);
        LIVE.fetch_sub(layout.size(), Relaxed);
        // SAFETY: the caller keeps `GlobalAlloc`'s contract.
        unsafe { System.realloc(memory, layout, size) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        LIVE.fetch_sub(layout.size(), Relaxed);
        // SAFETY: the caller keeps `GlobalAlloc`'s contract.
        unsafe { System.dealloc(memory, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Reads one frame and returns the largest allocation and the peak of all of them meanwhile.
fn cost_of_reading(wire: &[u8]) -> (usize, usize) {
    // Whether it is a frame is the other tests' matter.
    cost_of(|| drop(read_frame(&mut &wire[..])))
}

fn cost_of(read: impl FnOnce()) -> (usize, usize) {
    let before = LIVE.load(Relaxed);
    LARGEST.store(0, Relaxed);
    PEAK.store(before, Relaxed);
    read();
    (LARGEST.load(Relaxed), PEAK.load(Relaxed).saturating_sub(before))
}

/// The payload, and the same list of one-byte elements as long as a frame can hold.
fn framed(kind: u8, payload: &[u8]) -> Vec<u8> {
    let mut wire = (payload.len() as u32 + 1).to_be_bytes().to_vec();
    wire.push(kind);
    wire.extend_from_slice(payload);
    wire
}

/// `open`, a list header that declares `declared` elements, and `element` until the frame is full.
fn long_list(kind: u8, open: &[u8], declared: u32, element: &[u8]) -> Vec<u8> {
    let mut payload = open.to_vec();
    payload.push(0xdd);
    payload.extend(declared.to_be_bytes());
    let count = (MAX_FRAME - 5 - payload.len()) / element.len();
    payload.extend_from_slice(&element.repeat(count));
    framed(kind, &payload)
}

#[test]
fn memory_is_bounded_by_the_frame() {
    let check = |wire: &[u8], what: &str| {
        let (largest, peak) = cost_of_reading(wire);
        // A byte string that comes as a list of numbers grows by doubling.
        assert!(
            largest < 2 * MAX_FRAME,
            "{what}: one allocation of {largest} bytes"
        );
        // The payload, a list of references into it, and the bytes they own with the allocator's rounding.
        assert!(peak <= 4 * MAX_FRAME, "{what}: {peak} bytes at once");
    };

    check(&[0xff, 0xff, 0xff, 0xff, 6, 0], "the longest length there is");
    check(
        &[&(MAX_FRAME as u32 - 4).to_be_bytes()[..], &[6, 0]].concat(),
        "the longest length allowed, and nothing behind it",
    );

    let exec = b"\x81\xa4Exec\x96";
    let env = b"\x81\xa4Exec\x96\x90";
    let bufs = b"\x81\xa7Syscall\x95\x01\x96\x00\x00\x00\x00\x00\x00";
    let ptrs = b"\x81\xa7Syscall\x95\x01\x96\x00\x00\x00\x00\x00\x00\x90";
    let nested = b"\x81\xa7Syscall\x95\x01\x96\x00\x00\x00\x00\x00\x00\x90\x90";
    let reply = b"\x81\xa2Ok\x81\xa7Syscall\x92\x00";
    let joined = b"\x81\xa2Ok\x81\xa6Joined\x91";
    let end = b"\x93\x01\x02\x92\x81\xa6Exited\x03\x04";
    // As many byte strings as are allowed, one more, and as many as can be written.
    let most = (MAX_FRAME / 24) as u32;
    for declared in [most, most + 1, u32::MAX] {
        check(&long_list(4, exec, declared, b"\x90"), "argv");
        check(
            &long_list(4, exec, declared, b"\xc4\x01a"),
            "argv of single bytes",
        );
        check(&long_list(4, env, declared, b"\x92\x90\x90"), "env");
        check(&long_list(4, bufs, declared, b"\x90"), "bufs");
        check(&long_list(4, ptrs, declared, b"\x92\x00\x00"), "ptrs");
        check(&long_list(4, nested, declared, b"\x93\x00\x00\x00"), "nested");
        check(&long_list(5, reply, declared, b"\x90"), "bufs of a reply");
        check(&long_list(5, joined, declared, end), "ends of programs");
        // A path as a list of numbers rather than as bytes.
        check(&long_list(4, b"\x81\xa8ReadFile\x91", declared, b"\x01"), "path");
    }
    // Strings and byte strings that say they are larger than the frame.
    for marker in [0xc6, 0xdb, 0xc9] {
        check(&framed(3, &[0x91, marker, 0xff, 0xff, 0xff, 0xff, 0]), "reason");
        check(
            &framed(
                4,
                &[b"\x81\xa8ReadFile\x91", &[marker, 0xff, 0xff, 0xff, 0xff, 0][..]].concat(),
            ),
            "path",
        );
    }

    // Entries of a folder: as small as they can be, and with a byte of a name each.
    for entry in [&b"\x92\xa0\x00"[..], b"\x92\xc4\x01a\x00"] {
        for declared in [1, 1_000_000, u32::MAX] {
            let mut wire = vec![0xdd];
            wire.extend(declared.to_be_bytes());
            wire.extend(entry.repeat((MAX_LISTING - wire.len()) / entry.len()));
            let (largest, peak) = cost_of(|| drop(decode_listing(&wire)));
            assert!(largest <= MAX_FRAME, "entries: one allocation of {largest} bytes");
            assert!(peak <= 3 * MAX_FRAME, "entries: {peak} bytes at once");
        }
    }

    TestRunner::default()
        .run(&(1u8..9, vec(any::<u8>(), 0..400)), |(kind, payload)| {
            check(&framed(kind, &payload), "random bytes");
            Ok(())
        })
        .expect("every case is bounded");
}
