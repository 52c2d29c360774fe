//! A driver that does what an input says: accesses of all widths, rings, chains, tables of descriptors, saved
//! states of its own making.
//!
//! Input: a device behind its transport, an [`Input`]. Output: the device's own mistakes, as panics. Not
//! here: what is special to one device; its target passes that in as a [`Host`].

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use provium_devices::irq::FakeLine;
use provium_devices::virtio::mmio::MmioTransport;
use provium_devices::virtio::registers::{reg, status};
use provium_devices::virtio::saved::TransportState;
use provium_devices::virtio::{F_EVENT_IDX, F_INDIRECT_DESC, F_VERSION_1, VirtioDevice};
use provium_devices::{BusDevice, GuestRam};
use vm_memory::{Bytes, GuestAddress};

use crate::input::Input;

/// Two regions with a hole between them, so that buffers can reach into it.
const REGIONS: [(GuestAddress, usize); 2] =
    [(GuestAddress(0), 0x8_0000), (GuestAddress(0x10_0000), 0x1_0000)];
/// Where the rings of queue `n` are, behind `n` times as much.
const RINGS: u64 = 0x8000;
/// Bytes for the rings of a queue: descriptors, then the available ring, then the used one.
const PER_QUEUE: u64 = 0x4000;
/// Where buffers are: 16 of [`BUFFER`] bytes, and one that the hole begins in.
const BUFFERS: u64 = 0x4_0000;
const BUFFER: u64 = 0x1000;
/// Where tables of descriptors are.
const TABLES: u64 = 0x2_0000;

const NEXT: u16 = 1;
const WRITE: u16 = 2;
const INDIRECT: u16 = 4;

/// What a device's target adds to the driver.
pub trait Host {
    /// Something that the host's side does, or a buffer's content that a driver of this device would write:
    /// called for an eighth of all steps.
    fn act(&mut self, driver: &mut Driver, input: &mut Input<'_>);
    /// Checks what holds after each step.
    fn check(&mut self, driver: &Driver);
}

/// The host of a device that asks nothing of it: random numbers.
pub struct Nobody;

impl Host for Nobody {
    fn act(&mut self, driver: &mut Driver, input: &mut Input<'_>) {
        driver.send(0, &[], u32::from(input.u16()));
    }

    fn check(&mut self, _driver: &Driver) {}
}

/// Memory for one execution.
pub fn memory() -> GuestRam {
    GuestRam::from_ranges(&REGIONS).expect("a little memory")
}

/// A device, its transport and the memory.
pub struct Driver {
    /// The guest's memory.
    pub ram: GuestRam,
    /// The device, behind its registers.
    pub transport: MmioTransport,
    /// The most descriptors of each queue.
    sizes: Vec<u16>,
    /// What a queue has of that, as far as there are so many.
    size: u16,
}

impl Driver {
    /// A driver of `device`.
    pub fn new(device: Box<dyn VirtioDevice>, ram: GuestRam) -> Driver {
        let sizes = device.queue_sizes().to_vec();
        let line = Arc::new(FakeLine::default());
        Driver {
            transport: MmioTransport::new(device, ram.clone(), line),
            ram,
            size: 1,
            sizes,
        }
    }

    /// Does what the input says, until it is over.
    pub fn run(&mut self, host: &mut impl Host, input: &mut Input<'_>) {
        // Most inputs begin with a device that is set up.
        if input.u8() & 7 != 0 {
            self.set_up(input.u8());
        }
        while !input.is_over() {
            self.step(host, input);
            host.check(self);
        }
        // A device that goes on must come to an end, whatever the rings say, and a state go back.
        let state = self.transport.save();
        let _ = self.transport.restore(&state);
        self.write(reg::STATUS, 0);
    }

    fn step(&mut self, host: &mut impl Host, input: &mut Input<'_>) {
        match input.below(16) {
            0 => self.access(input),
            1 => self.set_up(input.u8()),
            2..=4 => self.offer(input),
            5 | 6 => self.write(reg::QUEUE_NOTIFY, u32::from(input.u8() & 3)),
            7 => self.transport.go_on(),
            8 => {
                let at = self.address(input);
                let _ = self.ram.write_slice(input.bytes(), GuestAddress(at));
            }
            9 => self.save_and_restore(input),
            10 => self.transport.settle(),
            11 => self.ring_index(input),
            12 => {
                let buffer = BUFFERS + u64::from(input.u8() & 15) * BUFFER;
                let _ = self.ram.write_slice(input.bytes(), GuestAddress(buffer));
            }
            13 => self.transport.kick(),
            _ => host.act(self, input),
        }
    }

    /// Writes a register as drivers do.
    pub fn write(&mut self, offset: u64, value: u32) {
        self.transport.write(offset, &value.to_le_bytes());
    }

    /// Any access: any register, any width, aligned or not.
    fn access(&mut self, input: &mut Input<'_>) {
        let offset = u64::from(input.u16()) & 0xfff;
        let mut data = input.u64().to_le_bytes();
        let width = input.pick(&[1, 2, 4, 4, 4, 8]);
        match input.u8() & 1 {
            0 => self.transport.write(offset, &data[..width]),
            _ => self.transport.read(offset, &mut data[..width]),
        }
    }

    /// Sets the device up as a good driver does, with the features and sizes that the input chooses.
    pub fn set_up(&mut self, choice: u8) {
        let mut features = F_VERSION_1;
        features |= if choice & 1 != 0 { F_EVENT_IDX } else { 0 };
        features |= if choice & 2 != 0 { F_INDIRECT_DESC } else { 0 };
        self.write(reg::STATUS, 0);
        self.write(reg::STATUS, status::ACKNOWLEDGE | status::DRIVER);
        for half in 0..2 {
            self.write(reg::DRIVER_FEATURES_SEL, half);
            self.write(reg::DRIVER_FEATURES, (features >> (32 * half)) as u32);
        }
        let agreed = status::ACKNOWLEDGE | status::DRIVER | status::FEATURES_OK;
        self.write(reg::STATUS, agreed);
        self.size = 1 << (choice >> 2 & 7);
        for queue in 0..self.sizes.len() as u16 {
            let (descriptors, available, used) = rings(queue);
            let _ = self
                .ram
                .write_slice(&[0; PER_QUEUE as usize], GuestAddress(descriptors));
            self.write(reg::QUEUE_SEL, queue.into());
            self.write(reg::QUEUE_NUM, self.size.into());
            self.write(reg::QUEUE_DESC_LOW, descriptors as u32);
            self.write(reg::QUEUE_DRIVER_LOW, available as u32);
            self.write(reg::QUEUE_DEVICE_LOW, used as u32);
            self.write(reg::QUEUE_READY, 1);
        }
        self.write(reg::STATUS, agreed | status::DRIVER_OK);
    }

    /// An address: a buffer, the end of memory before the hole, a ring, or anything.
    fn address(&self, input: &mut Input<'_>) -> u64 {
        match input.below(8) {
            0..=4 => BUFFERS + u64::from(input.u8() & 15) * BUFFER,
            5 => 0x8_0000 - u64::from(input.u8()),
            6 => RINGS + u64::from(input.u16() & 0x7fff),
            _ => input.u64(),
        }
    }

    /// Makes a chain available: up to eight descriptors, in the ring's table or in one of their own.
    fn offer(&mut self, input: &mut Input<'_>) {
        let queue = self.queue(input);
        let (descriptors, ..) = rings(queue);
        let shape = input.u8();
        let count = u16::from(shape & 7) + 1;
        let head = u16::from(input.u8() & 0x3f);
        let (table, first) = match shape & 8 != 0 {
            true => (TABLES + u64::from(shape >> 4) * 256, 0),
            false => (descriptors, head),
        };
        for number in 0..count {
            let at = first + number;
            let last = number + 1 == count;
            // One that is last may still name another: a loop, or one that is not there.
            let loose = shape & 0x80 != 0 && last;
            let flags = u16::from(input.u8()) & (WRITE | INDIRECT) | if last && !loose { 0 } else { NEXT };
            let next = if loose { u16::from(input.u8()) } else { at + 1 };
            let (address, len) = (self.address(input), self.length(input));
            self.descriptor(
                table,
                at,
                (
                    address,
                    len,
                    flags & !(if number > 0 { 0 } else { INDIRECT }),
                    next,
                ),
            );
        }
        if shape & 8 != 0 {
            self.descriptor(descriptors, head, (table, 16 * u32::from(count), INDIRECT, 0));
        }
        self.make_available(queue, head);
    }

    fn length(&self, input: &mut Input<'_>) -> u32 {
        match input.below(8) {
            0 => input.u32(),
            1 => 0,
            2 => BUFFER as u32,
            3 => 44,
            _ => u32::from(input.u8()),
        }
    }

    fn descriptor(&self, table: u64, at: u16, (address, len, flags, next): (u64, u32, u16, u16)) {
        let at = GuestAddress(table + u64::from(at) * 16);
        let _ = self.ram.write_obj(address, at);
        let _ = self.ram.write_obj(len, GuestAddress(at.0 + 8));
        let _ = self.ram.write_obj(flags, GuestAddress(at.0 + 12));
        let _ = self.ram.write_obj(next, GuestAddress(at.0 + 14));
    }

    fn size(&self, queue: u16) -> u16 {
        // A queue that cannot be so large stays as large as it can be.
        self.sizes
            .get(usize::from(queue))
            .map_or(1, |most| self.size.min(*most))
    }

    fn queue(&self, input: &mut Input<'_>) -> u16 {
        input.below(self.sizes.len()) as u16
    }

    fn make_available(&self, queue: u16, head: u16) {
        let (_, available, _) = rings(queue);
        let index: u16 = self.ram.read_obj(GuestAddress(available + 2)).unwrap_or(0);
        let slot = u64::from(index % self.size(queue));
        let _ = self.ram.write_obj(head, GuestAddress(available + 4 + 2 * slot));
        let _ = self
            .ram
            .write_obj(index.wrapping_add(1), GuestAddress(available + 2));
    }

    /// Puts a buffer with these bytes, and one to write into behind it, on a queue and kicks.
    pub fn send(&mut self, queue: u16, request: &[u8], room: u32) {
        let (descriptors, ..) = rings(queue);
        let _ = self.ram.write_slice(request, GuestAddress(BUFFERS));
        let more = if room > 0 { NEXT } else { 0 };
        self.descriptor(descriptors, 0, (BUFFERS, request.len() as u32, more, 1));
        self.descriptor(descriptors, 1, (BUFFERS + 8 * BUFFER, room, WRITE, 0));
        self.make_available(queue, 0);
        self.write(reg::QUEUE_NOTIFY, queue.into());
    }

    /// Puts an index of the driver's, or an event index, anywhere.
    fn ring_index(&mut self, input: &mut Input<'_>) {
        let queue = self.queue(input);
        let (_, available, used) = rings(queue);
        let size = u64::from(self.size(queue));
        let at = match input.below(4) {
            0 => available + 2,
            1 => available,
            2 => available + 4 + 2 * size,
            _ => used + 4 + 8 * size,
        };
        let _ = self.ram.write_obj(input.u16(), GuestAddress(at));
    }

    /// Saves, and restores that or something like it. A state that is refused has changed nothing.
    fn save_and_restore(&mut self, input: &mut Input<'_>) {
        let state = self.transport.save();
        let mut bytes = rmp_serde::to_vec(&state).expect("plain data");
        for _ in 0..input.below(4) {
            let at = usize::from(input.u16()) % bytes.len();
            bytes[at] = input.u8();
        }
        let Ok(other) = rmp_serde::from_slice::<TransportState>(&bytes) else {
            return;
        };
        match self.transport.restore(&other) {
            Ok(()) => self.transport.kick(),
            Err(_) => assert_eq!(
                self.transport.save(),
                state,
                "a state that is refused changes nothing"
            ),
        }
    }
}

fn rings(queue: u16) -> (u64, u64, u64) {
    let base = RINGS + u64::from(queue) * PER_QUEUE;
    (base, base + 0x2000, base + 0x3000)
}

/// Writes over rings, tables and buffers, again and again, until it is over.
pub fn scribble(ram: &GuestRam, seed: u64, over: &AtomicBool) {
    let mut random = seed | 1;
    while !over.load(Ordering::Relaxed) {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        // Most of it where the device looks: the first of each ring, small numbers.
        let spread = if random & 7 == 0 { 0x4_0000 } else { 0x80 };
        let base = [
            RINGS,
            RINGS + 0x2000,
            RINGS + PER_QUEUE,
            RINGS + PER_QUEUE + 0x2000,
            TABLES,
            BUFFERS,
        ];
        let at = base[(random >> 8) as usize % base.len()] + (random >> 16) % spread;
        let value = if random & 8 == 0 {
            random >> 40
        } else {
            random >> 40 & 0x3f
        };
        let _ = ram.write_obj(value as u16, GuestAddress(at & !1));
    }
}
