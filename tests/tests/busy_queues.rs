//! A driver that keeps queues full from one processor while another kicks, against what the host must be able
//! to do meanwhile: pause, save, put back, give up a call at its limit, end.

use std::io::ErrorKind;
use std::time::Duration;

use provium_tests::payload::start_with;
use provium_tests::*;
use provium_vmm::EndReason;
use provium_vmm::disk::{Disk, DiskSpec};

/// Writes each pair of words behind it, an address and what to put there, until one has address 0; then kicks
/// the sockets' transmit queue, the random numbers' and the disk's for ever.
#[rustfmt::skip]
const KICKER: [u8; 104] = [
    0x48, 0xc7, 0x04, 0x25, 0x18, 0xa0, 0, 0, 0x03, 0, 0x20, 0, // mov qword [0xa018], 0x200003: for 3 to 4 GiB
    0xb8, 0x83, 0, 0, 0xd0,                         // mov eax, 0xd0000083
    0x48, 0x89, 0x04, 0x25, 0, 0x04, 0x20, 0,       // mov [0x200400], rax: the devices' page
    0xb8, 0x9b, 0, 0xe0, 0xfe,                      // mov eax, 0xfee0009b
    0x48, 0x89, 0x04, 0x25, 0xb8, 0x0f, 0x20, 0,    // mov [0x200fb8], rax: the interrupt controller's page
    0x48, 0x8d, 0x35, 0x3b, 0, 0, 0,                // lea rsi, [rip + 59]
    0xad, 0x85, 0xc0, 0x74, 0x07,                   // next: lodsd; test eax, eax; jz done
    0x89, 0xc7, 0xad, 0x89, 0x07,                   // mov edi, eax; lodsd; mov [rdi], eax
    0xeb, 0xf4,                                     // jmp next
    0xbf, 0, 0, 0, 0xd0,                            // done: mov edi, 0xd0000000
    0x8b, 0x87, 0, 1, 0, 0,                         // mov eax, [rdi + 0x100]: the guest's context id
    0x89, 0x04, 0x25, 0, 0, 0x10, 0,                // mov [0x100000], eax: into the packet
    0xc7, 0x47, 0x50, 1, 0, 0, 0,                   // kick: mov dword [rdi + 0x50], 1
    0xc7, 0x87, 0x50, 0x10, 0, 0, 0, 0, 0, 0,       // mov dword [rdi + 0x1050], 0
    0xc7, 0x87, 0x50, 0x20, 0, 0, 0, 0, 0, 0,       // mov dword [rdi + 0x2050], 0
    0xeb, 0xe3,                                     // jmp kick
];

/// Makes all chains of the two queues available again as soon as they come back; 16-bit code at [`SECOND`].
#[rustfmt::skip]
const REFILLER: [u8; 32] = [
    0xb8, 0x00, 0x40, 0x8e, 0xd8, // mov ax, 0x4000; mov ds, ax
    0x8b, 0x1e, 0x02, 0x60,       // again: mov bx, [0x6002]: the used index of sockets
    0x81, 0xc3, 0x00, 0x01,       // add bx, 256
    0x89, 0x1e, 0x02, 0x50,       // mov [0x5002], bx: the available index
    0x8b, 0x1e, 0x02, 0xe0,       // mov bx, [0xe002]: the same of random numbers
    0x83, 0xc3, 0x40,             // add bx, 64
    0x89, 0x1e, 0x02, 0xd0,       // mov [0xd002], bx
    0xeb, 0xe7,                   // jmp again
    0, 0,
];

/// Where the second processor starts: its page's number is what it is told.
const SECOND: u32 = 0x3_0000;
/// Where the rings of the queues are, each behind the one before.
const RINGS: u32 = 0x4_0000;
/// Bytes for the rings of a queue: descriptors, then the available ring, then the used one.
const PER_QUEUE: u32 = 0x4000;
/// A packet that ends a connection that is not there, with as much payload as there may be: nobody answers,
/// and it takes its time. Then a request of a disk, and its status.
const PACKET: u32 = 0x10_0000;
const PAYLOAD: u32 = 64 << 10;
const REQUEST: u32 = 0x12_1000;
const STATUS: u32 = 0x12_2000;
/// Where random numbers and sectors go.
const DATA: u32 = 0x200_0000;
/// Bytes of each of a disk request's buffers, which are all the same.
const PART: u32 = 16 << 20;
const PARTS: u32 = 254;

const WRITE: u32 = 2;
const NEXT: u32 = 1;

/// What the first processor writes before it kicks.
#[derive(Default)]
struct Script(Vec<u8>);

impl Script {
    fn put(&mut self, address: u32, value: u32) {
        self.0.extend(address.to_le_bytes());
        self.0.extend(value.to_le_bytes());
    }

    /// Sets a device up with queues of these sizes, the first of which has its rings at `number`.
    fn set_up(&mut self, slot: u32, number: u32, sizes: &[u32]) {
        let registers = 0xd000_0000 + slot * 0x1000;
        for (register, value) in [(0x70, 0), (0x70, 3), (0x24, 1), (0x20, 1), (0x70, 11)] {
            self.put(registers + register, value);
        }
        for (queue, size) in sizes.iter().enumerate() {
            let rings = RINGS + (number + queue as u32) * PER_QUEUE;
            let places = [(0x80, rings), (0x90, rings + 0x1000), (0xa0, rings + 0x2000)];
            self.put(registers + 0x30, queue as u32);
            self.put(registers + 0x38, *size);
            places
                .into_iter()
                .for_each(|(register, place)| self.put(registers + register, place));
            self.put(registers + 0x44, 1);
        }
        self.put(registers + 0x70, 15);
    }

    fn descriptor(&mut self, number: u32, at: u32, (address, len, flags): (u32, u32, u32)) {
        let place = RINGS + number * PER_QUEUE + at * 16;
        self.put(place, address);
        self.put(place + 4, 0);
        self.put(place + 8, len);
        self.put(place + 12, flags | (at + 1) << 16);
    }

    /// A queue all of whose chains are one buffer, each in its own place of the ring.
    fn fill(&mut self, number: u32, size: u32, buffer: (u32, u32, u32)) {
        let available = RINGS + number * PER_QUEUE + 0x1000;
        (0..size).for_each(|at| self.descriptor(number, at, buffer));
        for at in (0..size).step_by(2) {
            self.put(available + 4 + at * 2, at | (at + 1) << 16);
        }
    }

    /// The whole payload.
    fn code(mut self) -> Vec<u8> {
        for (at, word) in REFILLER.as_chunks::<4>().0.iter().enumerate() {
            self.put(SECOND + at as u32 * 4, u32::from_le_bytes(*word));
        }
        // To the processor with number 1: begin anew, then start at that page.
        self.put(0xfee0_0310, 1 << 24);
        self.put(0xfee0_0300, 0x4500);
        self.put(0xfee0_0310, 1 << 24);
        self.put(0xfee0_0300, 0x4600 | SECOND >> 12);
        self.put(0, 0);
        [&KICKER[..], &self.0].concat()
    }
}

/// Sockets and random numbers whose queues are never empty, and a request of a disk for almost 4 GiB.
fn hostile_driver() -> Vec<u8> {
    let mut script = Script::default();
    for (at, word) in [(8, 2), (24, PAYLOAD), (28, 1 | 3 << 16)] {
        script.put(PACKET + at, word);
    }
    script.fill(1, 256, (PACKET, 44 + PAYLOAD, 0));
    // So many bytes that the other processor has its turn before the last.
    script.fill(3, 64, (DATA, 64 << 10, WRITE));
    script.descriptor(4, 0, (REQUEST, 16, NEXT));
    (1..=PARTS).for_each(|at| script.descriptor(4, at, (DATA, PART, NEXT | WRITE)));
    script.descriptor(4, PARTS + 1, (STATUS, 1, WRITE));
    script.put(RINGS + 4 * PER_QUEUE + 0x1000, 1 << 16);
    script.set_up(0, 0, &[256, 256, 16]);
    script.set_up(1, 3, &[64]);
    script.set_up(2, 4, &[256]);
    script.code()
}

#[test]
fn a_driver_that_keeps_queues_full_holds_up_nothing() {
    let disk = Disk::create(DiskSpec {
        id: "large".to_owned(),
        image: None,
        size: Some(u64::from(PART) * u64::from(PARTS)),
        readonly: false,
        writable: false,
    });
    let machine = start_with(&hostile_driver(), 64 << 20, 2, vec![disk.unwrap()]).unwrap();
    // The first of these waits for as long as a queue is served under its lock: for a ring's worth, which
    // the device's own tests count. Were it served until it is empty, that is as long as the processors of
    // the guest run side by side.
    let mut rounds = 0;
    let mut served = [0, 0];
    while rounds < 3 {
        let refused = machine.connect(7, Duration::from_millis(200)).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::TimedOut, "{refused}");
        machine.pause().unwrap();
        assert_eq!(machine.ended(), None);
        let (folder, snapshot) = saved_machine(&machine, false);
        let state = state_of(folder.path());
        let now = [
            &state.devices.virtio[0].queues[1],
            &state.devices.virtio[1].queues[0],
        ];
        let now = now.map(|queue| queue.next_used);
        // Both are refilled, so the second processor runs, and go on being served.
        let more = now.iter().zip(served).all(|(now, before)| *now != before);
        rounds += usize::from(more && served != [0, 0]);
        served = now;
        machine.load(&snapshot).unwrap();
        machine.resume().unwrap();
    }
    machine.kill();
    assert_eq!(machine.wait_end(Some(LONG)), Some(EndReason::Killed));
}
