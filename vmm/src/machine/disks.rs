//! The machine's slots for disks: which disk is in which, and the thread that serves each.
//!
//! Enters: disks. Leaves: block devices that serve the guest's requests on a thread of the slot's own, started when the
//! slot is first filled. Absent on purpose: telling the guest that a slot was filled while it ran; it looks at an empty
//! slot once, at boot, and somebody has to make it look again.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use provium_devices::virtio::VirtioDevice;
use provium_devices::virtio::block::{Block, BlockHandle};

use super::end::EndReason;
use super::lifecycle::Lifecycle;
use super::{Machine, MachineError};
use crate::disk::Disk;
use crate::limits::MAX_DISKS;

/// See the module.
pub(crate) struct DiskSlots {
    slots: Vec<Slot>,
    life: Arc<Lifecycle>,
}

struct Slot {
    handle: BlockHandle,
    state: Mutex<SlotState>,
}

#[derive(Default)]
struct SlotState {
    disk: Option<Arc<Disk>>,
    thread: Option<JoinHandle<()>>,
}

impl Slot {
    fn state(&self) -> MutexGuard<'_, SlotState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl DiskSlots {
    /// Empty slots, paused, and their devices.
    pub(crate) fn new(life: Arc<Lifecycle>) -> (DiskSlots, Vec<Box<dyn VirtioDevice>>) {
        let (mut slots, mut devices) = (Vec::new(), Vec::new());
        for _ in 0..MAX_DISKS {
            let (device, handle) = Block::new();
            devices.push(Box::new(device) as Box<dyn VirtioDevice>);
            slots.push(Slot {
                handle,
                state: Mutex::default(),
            });
        }
        (DiskSlots { slots, life }, devices)
    }

    /// Puts `disk` into `slot`, which exists.
    pub(crate) fn fill(&self, slot: u8, disk: Arc<Disk>) -> std::io::Result<()> {
        let place = &self.slots[usize::from(slot)];
        let mut state = place.state();
        if state.thread.is_none() {
            let (handle, life) = (place.handle.clone(), Arc::clone(&self.life));
            let thread = std::thread::Builder::new().name(format!("provium-disk{slot}"));
            state.thread = Some(thread.spawn(move || {
                let _panic = EndOnPanic(life);
                handle.serve();
            })?);
        }
        place.handle.insert(Arc::clone(&disk) as _);
        state.disk = Some(disk);
        Ok(())
    }

    /// Empties every slot and fills those named.
    pub(crate) fn replace(&self, disks: Vec<(u8, Arc<Disk>)>) -> std::io::Result<()> {
        for slot in &self.slots {
            slot.handle.eject();
            slot.state().disk = None;
        }
        disks
            .into_iter()
            .try_for_each(|(slot, disk)| self.fill(slot, disk))
    }

    /// The disks and their slots.
    pub(crate) fn disks(&self) -> Vec<(u8, Arc<Disk>)> {
        let slots = (0..).zip(&self.slots);
        slots
            .filter_map(|(index, slot)| Some((index, slot.state().disk.clone()?)))
            .collect()
    }

    /// No request is under way when this returns, and none is begun until [`resume`](Self::resume).
    pub(crate) fn pause(&self) {
        self.slots.iter().for_each(|slot| slot.handle.pause());
    }

    /// Requests are served again.
    pub(crate) fn resume(&self) {
        self.slots.iter().for_each(|slot| slot.handle.resume());
    }

    /// Ends the threads; returns when they are gone.
    pub(crate) fn end(&self) {
        for slot in &self.slots {
            slot.handle.end();
            let thread = slot.state().thread.take();
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

impl Machine {
    /// The disks by their slots.
    pub fn disks(&self) -> Vec<(u8, Arc<Disk>)> {
        self.parts()
            .as_ref()
            .map_or_else(Vec::new, |parts| parts.platform.disks.disks())
    }

    /// Puts a disk into the first free slot; returns the slot. The guest does not look there by itself.
    ///
    /// # Errors
    /// [`MachineError::NoDiskSlot`] when all are taken; [`MachineError::Ended`].
    pub fn attach_disk(&self, disk: Arc<Disk>) -> Result<u8, MachineError> {
        let parts = self.parts();
        let parts = parts.as_ref().ok_or_else(|| self.ended_error())?;
        let slots = &parts.platform.disks;
        let free = slots
            .slots
            .iter()
            .position(|slot| slot.state().disk.is_none() && !slot.handle.is_active());
        let slot = free.ok_or(MachineError::NoDiskSlot)? as u8;
        disk.power_on();
        slots.fill(slot, disk)?;
        Ok(slot)
    }

    /// Takes the disk out of a slot, whatever the guest is doing with it. A driver that has not let go of the slot gets
    /// errors, and keeps the slot from being filled again.
    pub fn detach_disk(&self, slot: u8) {
        if let Some(parts) = self.parts().as_ref()
            && let Some(slot) = parts.platform.disks.slots.get(usize::from(slot))
        {
            slot.handle.eject();
            slot.state().disk = None;
        }
    }

    /// What Linux may call the platform device of a disk's slot: with ACPI, and without.
    pub fn disk_slot_names(slot: u8) -> [String; 2] {
        let index = super::platform::FIRST_DISK + usize::from(slot);
        [format!("LNRO0005:{index:02x}"), format!("virtio-mmio.{index}")]
    }
}
