//! The machine's slots for disks: which disk is in which, and the thread that serves each.
//!
//! Input: disks. Output: block devices that serve the guest's requests on a thread of the slot's own, started
//! when the slot is first filled. Not here: finding a free slot for a caller, or a slot's address (`attach`,
//! `slots`).

use std::sync::Arc;
use std::thread::JoinHandle;

use parking_lot::Mutex;
use provium_devices::virtio::block::{Block, BlockHandle};

use super::end::EndReason;
use super::lifecycle::Lifecycle;
use crate::confine::ThreadWork;
use crate::disk::Disk;
use crate::limits::MAX_DISKS;

/// All slots for disks of one machine.
pub(crate) struct DiskSlots {
    slots: Vec<DiskSlot>,
    life: Arc<Lifecycle>,
}

struct DiskSlot {
    handle: BlockHandle,
    state: Mutex<DiskSlotState>,
}

#[derive(Default)]
struct DiskSlotState {
    disk: Option<Arc<Disk>>,
    thread: Option<JoinHandle<()>>,
}

impl DiskSlots {
    /// Empty slots, paused, and the device of each.
    pub(crate) fn new(life: Arc<Lifecycle>) -> (DiskSlots, Vec<Block>) {
        let (mut slots, mut devices) = (Vec::new(), Vec::new());
        for _ in 0..MAX_DISKS {
            let (device, handle) = Block::new();
            devices.push(device);
            slots.push(DiskSlot {
                handle,
                state: Mutex::default(),
            });
        }
        (DiskSlots { slots, life }, devices)
    }

    /// Puts `disk` into `slot`, which exists.
    ///
    /// # Errors
    /// When the host refuses a thread.
    pub(crate) fn fill(&self, slot: u8, disk: Arc<Disk>) -> std::io::Result<()> {
        let place = &self.slots[usize::from(slot)];
        let mut state = place.state.lock();
        if state.thread.is_none() {
            let (handle, life) = (place.handle.clone(), Arc::clone(&self.life));
            let thread = std::thread::Builder::new().name(format!("provium-disk{slot}"));
            state.thread = Some(thread.spawn(move || {
                life.confine(ThreadWork::Disk);
                let _panic = EndOnPanic(life);
                handle.serve();
            })?);
        }
        place.handle.insert(Arc::clone(&disk) as _);
        state.disk = Some(disk);
        Ok(())
    }

    /// The first slot that has no disk and that no driver of the guest holds.
    pub(crate) fn first_free(&self) -> Option<u8> {
        let free = |slot: &DiskSlot| slot.state.lock().disk.is_none() && !slot.handle.is_active();
        let slot = self.slots.iter().position(free)?;
        Some(slot as u8)
    }

    /// Takes the disk out of `slot`, if there is such a slot.
    pub(crate) fn empty(&self, slot: u8) {
        if let Some(slot) = self.slots.get(usize::from(slot)) {
            slot.handle.eject();
            slot.state.lock().disk = None;
        }
    }

    /// Empties every slot and fills those named.
    pub(crate) fn replace(&self, disks: Vec<(u8, Arc<Disk>)>) -> std::io::Result<()> {
        (0..MAX_DISKS).for_each(|slot| self.empty(slot));
        disks
            .into_iter()
            .try_for_each(|(slot, disk)| self.fill(slot, disk))
    }

    /// The disks, each with its slot.
    pub(crate) fn disks(&self) -> Vec<(u8, Arc<Disk>)> {
        let slots = (0..).zip(&self.slots);
        slots
            .filter_map(|(index, slot)| Some((index, slot.state.lock().disk.clone()?)))
            .collect()
    }

    /// Pauses every slot: no request is under way when this returns, and none is begun until
    /// [`resume`](Self::resume).
    pub(crate) fn pause(&self) {
        self.slots.iter().for_each(|slot| slot.handle.pause());
    }

    /// Serves requests again.
    pub(crate) fn resume(&self) {
        self.slots.iter().for_each(|slot| slot.handle.resume());
    }

    /// Ends the threads; returns when they are gone.
    pub(crate) fn end(&self) {
        for slot in &self.slots {
            slot.handle.end();
            let thread = slot.state.lock().thread.take();
            // One that panicked has said so through the end reason.
            let _ = thread.map(JoinHandle::join);
        }
    }
}

struct EndOnPanic(Arc<Lifecycle>);

impl Drop for EndOnPanic {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let what = "a disk's thread panicked; this is a bug in Provium";
            self.0.end(EndReason::Monitor(what.to_owned()));
        }
    }
}
