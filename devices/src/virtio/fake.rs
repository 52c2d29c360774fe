//! A driver without a guest: sets a device up through its registers and plays the driver's side of its queues
//! in plain memory.
//!
//! Input: a transport. Output: what a driver would see. Not here: anything that only Linux does. For the
//! tests of this crate and of the monitor.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::{Mutex, MutexGuard};
use virtio_bindings::virtio_ring::{VRING_DESC_F_NEXT, VRING_DESC_F_WRITE};
use vm_memory::{Bytes, GuestAddress};

use super::mmio::MmioTransport;
use super::registers::{reg, status};
use crate::{BusDevice, GuestRam};

/// 4 MiB of RAM at address 0; queue `n`'s rings are at `n << 14`, buffers from [`BUFFERS`] on.
pub fn ram() -> GuestRam {
    GuestRam::from_ranges(&[(GuestAddress(0), 4 << 20)]).expect("4 MiB of memory")
}

/// Where the buffers of all queues start.
pub const BUFFERS: u64 = 0x10_0000;
/// Bytes of each buffer; a queue's descriptor `i` always has its own.
pub const BUFFER_SIZE: u32 = 4096;

const DESC_F_NEXT: u16 = VRING_DESC_F_NEXT as u16;
const DESC_F_WRITE: u16 = VRING_DESC_F_WRITE as u16;

/// The driver's side of one device.
pub struct FakeDriver {
    transport: Arc<Mutex<MmioTransport>>,
    ram: GuestRam,
    sizes: Vec<u16>,
    used: HashMap<u16, u16>,
}

impl FakeDriver {
    /// Drives `transport`, which must have been made with [`ram`].
    pub fn new(transport: MmioTransport) -> Self {
        let ram = transport_ram(&transport);
        Self {
            transport: Arc::new(Mutex::new(transport)),
            ram,
            sizes: Vec::new(),
            used: HashMap::new(),
        }
    }

    /// The same driver before another transport, whose memory is made equal: what a guest is after a restore.
    pub fn onto(&self, transport: MmioTransport) -> FakeDriver {
        let mut memory = vec![0; 4 << 20];
        self.ram.read_slice(&mut memory, GuestAddress(0)).unwrap();
        let mut driver = FakeDriver::new(transport);
        driver.ram.write_slice(&memory, GuestAddress(0)).unwrap();
        driver.sizes.clone_from(&self.sizes);
        driver.used.clone_from(&self.used);
        driver
    }

    /// The transport, locked, for accesses that no good driver makes.
    pub fn transport(&self) -> MutexGuard<'_, MmioTransport> {
        self.transport.lock()
    }

    /// The guest's memory.
    pub fn ram(&self) -> &GuestRam {
        &self.ram
    }

    /// Reads a register.
    pub fn read(&self, offset: u64) -> u32 {
        let mut data = [0; 4];
        self.transport().read(offset, &mut data);
        u32::from_le_bytes(data)
    }

    /// Writes a register.
    pub fn write(&self, offset: u64, value: u32) {
        self.transport().write(offset, &value.to_le_bytes());
    }

    /// Acknowledges the device and asks for `features`; whether the device agreed.
    pub fn negotiate(&mut self, features: u64) -> bool {
        self.write(reg::STATUS, 0);
        self.write(reg::STATUS, status::ACKNOWLEDGE | status::DRIVER);
        for sel in 0..2 {
            self.write(reg::DRIVER_FEATURES_SEL, sel);
            self.write(reg::DRIVER_FEATURES, (features >> (32 * sel)) as u32);
        }
        self.write(
            reg::STATUS,
            status::ACKNOWLEDGE | status::DRIVER | status::FEATURES_OK,
        );
        self.read(reg::STATUS) & status::FEATURES_OK != 0
    }

    /// Sets the device up as section 3.1.1 says: negotiates, places every queue, sets DRIVER_OK.
    pub fn set_up(&mut self, features: u64) {
        assert!(self.negotiate(features), "the device refused {features:#x}");
        self.sizes.clear();
        self.used.clear();
        for index in 0.. {
            self.write(reg::QUEUE_SEL, index);
            let size = self.read(reg::QUEUE_NUM_MAX);
            if size == 0 {
                break;
            }
            let (desc, avail, used) = rings(index as u16);
            self.ram.write_slice(&[0; 0x4000], GuestAddress(desc)).unwrap();
            self.write(reg::QUEUE_NUM, size);
            self.write(reg::QUEUE_DESC_LOW, desc as u32);
            self.write(reg::QUEUE_DRIVER_LOW, avail as u32);
            self.write(reg::QUEUE_DEVICE_LOW, used as u32);
            self.write(reg::QUEUE_READY, 1);
            self.sizes.push(size as u16);
        }
        self.write(reg::STATUS, self.read(reg::STATUS) | status::DRIVER_OK);
    }

    /// Address of descriptor `id`'s buffer in queue `queue`.
    pub fn buffer(&self, queue: u16, id: u16) -> GuestAddress {
        let before: u64 = self.sizes[..usize::from(queue)]
            .iter()
            .map(|&size| u64::from(size))
            .sum();
        GuestAddress(BUFFERS + (before + u64::from(id)) * u64::from(BUFFER_SIZE))
    }

    /// Makes descriptor `id` available as a chain of one: `Ok(bytes)` to read, `Err(len)` to write into.
    pub fn offer(&mut self, queue: u16, id: u16, buffer: Result<&[u8], u32>) {
        let address = self.buffer(queue, id);
        let (len, flags) = match buffer {
            Ok(bytes) => {
                assert!(bytes.len() <= BUFFER_SIZE as usize);
                self.ram.write_slice(bytes, address).unwrap();
                (bytes.len() as u32, 0)
            }
            Err(len) => (len, DESC_F_WRITE),
        };
        self.put(queue, id, address.0, len, flags);
    }

    /// Makes a chain available whose only descriptor points anywhere at all.
    pub fn offer_raw(&mut self, queue: u16, id: u16, address: u64, len: u32, writable: bool) {
        self.put(queue, id, address, len, if writable { DESC_F_WRITE } else { 0 });
    }

    /// Makes a chain available that points at itself.
    pub fn offer_loop(&mut self, queue: u16, id: u16) {
        self.put(queue, id, self.buffer(queue, id).0, 64, DESC_F_NEXT);
    }

    /// Makes one chain of several buffers available; the first descriptor is its head. Buffers as in
    /// [`offer`](Self::offer), those to read first.
    pub fn offer_chain(&mut self, queue: u16, parts: &[(u16, Result<&[u8], u32>)]) {
        let (desc, _, _) = rings(queue);
        // Behind the head, which makes the chain available, nothing may still be missing.
        for (index, (id, buffer)) in parts.iter().enumerate().rev() {
            let address = self.buffer(queue, *id);
            let (len, mut flags) = match buffer {
                Ok(bytes) => {
                    assert!(bytes.len() <= BUFFER_SIZE as usize);
                    self.ram.write_slice(bytes, address).unwrap();
                    (bytes.len() as u32, 0)
                }
                Err(len) => (*len, DESC_F_WRITE),
            };
            let next = parts.get(index + 1).map(|(next, _)| *next);
            flags |= next.map_or(0, |_| DESC_F_NEXT);
            if index == 0 {
                self.put(queue, *id, address.0, len, flags);
            }
            let at = desc + u64::from(*id) * 16;
            self.ram.write_obj(address.0.to_le(), GuestAddress(at)).unwrap();
            self.ram.write_obj(len.to_le(), GuestAddress(at + 8)).unwrap();
            self.ram.write_obj(flags.to_le(), GuestAddress(at + 12)).unwrap();
            let next = next.unwrap_or(0);
            self.ram.write_obj(next.to_le(), GuestAddress(at + 14)).unwrap();
        }
    }

    /// The first `len` bytes in descriptor `id`'s buffer.
    pub fn content(&self, queue: u16, id: u16, len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        self.ram.read_slice(&mut bytes, self.buffer(queue, id)).unwrap();
        bytes
    }

    /// The head and the length of the next chain the device has finished with, its buffers not looked at.
    pub fn take_used_head(&mut self, queue: u16) -> Option<(u16, u32)> {
        let (_, _, used) = rings(queue);
        let idx: u16 = self.ram.read_obj(GuestAddress(used + 2)).unwrap();
        let seen = *self.used.entry(queue).or_default();
        if seen == idx {
            return None;
        }
        let slot = u64::from(seen % self.sizes[usize::from(queue)]);
        let id: u32 = self.ram.read_obj(GuestAddress(used + 4 + 8 * slot)).unwrap();
        let len: u32 = self.ram.read_obj(GuestAddress(used + 8 + 8 * slot)).unwrap();
        self.used.insert(queue, seen.wrapping_add(1));
        Some((id as u16, len))
    }

    fn put(&mut self, queue: u16, id: u16, address: u64, len: u32, flags: u16) {
        let (desc, avail, _) = rings(queue);
        let at = desc + u64::from(id) * 16;
        self.ram.write_obj(address.to_le(), GuestAddress(at)).unwrap();
        self.ram.write_obj(len.to_le(), GuestAddress(at + 8)).unwrap();
        self.ram.write_obj(flags.to_le(), GuestAddress(at + 12)).unwrap();
        self.ram.write_obj(id.to_le(), GuestAddress(at + 14)).unwrap();
        let idx: u16 = self.ram.read_obj(GuestAddress(avail + 2)).unwrap();
        let slot = u64::from(idx % self.sizes[usize::from(queue)]);
        self.ram
            .write_obj(id.to_le(), GuestAddress(avail + 4 + 2 * slot))
            .unwrap();
        self.ram
            .write_obj(idx.wrapping_add(1), GuestAddress(avail + 2))
            .unwrap();
    }

    /// Notifies the device of `queue`.
    pub fn kick(&self, queue: u16) {
        self.write(reg::QUEUE_NOTIFY, u32::from(queue));
    }

    /// Whether the device, which has agreed on EVENT_IDX, wants to hear of the chain that was made available
    /// last.
    pub fn is_to_kick(&self, queue: u16) -> bool {
        let size = u64::from(self.sizes[usize::from(queue)]);
        let event = rings(queue).2 + 4 + 8 * size;
        let event: u16 = self.ram.load(GuestAddress(event), Ordering::Acquire).unwrap();
        self.available_index(queue) == event.wrapping_add(1)
    }

    /// Number of chains that the device has given back so far, modulo 2^16.
    pub fn used_index(&self, queue: u16) -> u16 {
        self.ram
            .load(GuestAddress(rings(queue).2 + 2), Ordering::Acquire)
            .unwrap()
    }

    /// Number of chains that were made available so far, modulo 2^16.
    pub fn available_index(&self, queue: u16) -> u16 {
        self.ram
            .load(GuestAddress(rings(queue).1 + 2), Ordering::Acquire)
            .unwrap()
    }

    /// Calls `meanwhile` while another thread, as a second processor would, makes every chain available again
    /// as soon as it has come back. All slots of the ring have to be in use.
    pub fn keep_full(&mut self, queue: u16, meanwhile: impl FnOnce(&FakeDriver)) {
        let (ram, over) = (self.ram.clone(), AtomicBool::new(false));
        let (size, (_, avail, used)) = (self.sizes[usize::from(queue)], rings(queue));
        let refill = || {
            let mut index: u16 = ram.load(GuestAddress(avail + 2), Ordering::Acquire).unwrap();
            while !over.load(Ordering::Acquire) {
                let back: u16 = ram.load(GuestAddress(used + 2), Ordering::Acquire).unwrap();
                let full = back.wrapping_add(size);
                if full != index {
                    index = full;
                    ram.store(index, GuestAddress(avail + 2), Ordering::Release)
                        .unwrap();
                }
            }
        };
        std::thread::scope(|scope| {
            let second = scope.spawn(refill);
            meanwhile(self);
            over.store(true, Ordering::Release);
            second.join().expect("it only writes");
        });
    }

    /// Lets the device go on with what it has not finished; whether there is still more.
    pub fn go_on(&self) -> bool {
        let mut transport = self.transport();
        transport.go_on();
        transport.is_busy()
    }

    /// The next chain the device has finished with: its descriptor and the bytes written into it.
    pub fn take_used(&mut self, queue: u16) -> Option<(u16, Vec<u8>)> {
        let (_, avail, used) = rings(queue);
        let idx: u16 = self.ram.read_obj(GuestAddress(used + 2)).unwrap();
        let seen = self.used.entry(queue).or_default();
        if *seen == idx {
            return None;
        }
        let slot = u64::from(*seen % self.sizes[usize::from(queue)]);
        *seen = seen.wrapping_add(1);
        // With EVENT_IDX this asks for an interrupt at the next one.
        let used_event = avail + 4 + 2 * u64::from(self.sizes[usize::from(queue)]);
        self.ram
            .write_obj(seen.to_le(), GuestAddress(used_event))
            .unwrap();
        let id: u32 = self.ram.read_obj(GuestAddress(used + 4 + 8 * slot)).unwrap();
        let len: u32 = self.ram.read_obj(GuestAddress(used + 8 + 8 * slot)).unwrap();
        let mut bytes = vec![0; len as usize];
        self.ram
            .read_slice(&mut bytes, self.buffer(queue, id as u16))
            .unwrap();
        Some((id as u16, bytes))
    }
}

fn rings(queue: u16) -> (u64, u64, u64) {
    let base = u64::from(queue) << 14;
    (base, base + 0x2000, base + 0x3000)
}

fn transport_ram(transport: &MmioTransport) -> GuestRam {
    transport.ram().clone()
}
