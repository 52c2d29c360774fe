//! Disks of a machine, attached and detached while it runs.
//!
//! Input: a disk, or a slot. Output: the slot filled or emptied. Not here: telling the guest. It looks at an
//! empty slot once, at boot, and somebody has to make it look again.

use std::sync::Arc;

use super::error::MachineError;
use super::handle::Machine;
use crate::disk::Disk;
use crate::slots;

impl Machine {
    /// The disks, each with its slot; none once the machine has ended.
    pub fn disks(&self) -> Vec<(u8, Arc<Disk>)> {
        self.hardware()
            .as_ref()
            .map_or_else(Vec::new, |hardware| hardware.platform.disks.disks())
    }

    /// Puts a disk, with its power on, into the first free slot; gives the slot. The guest does not look
    /// there by itself.
    ///
    /// # Errors
    /// [`MachineError::NoDiskSlot`] when all slots are taken; [`MachineError::Ended`].
    pub fn attach_disk(&self, disk: Arc<Disk>) -> Result<u8, MachineError> {
        let hardware = self.hardware();
        let hardware = hardware.as_ref().ok_or_else(|| self.ended_error())?;
        let slots = &hardware.platform.disks;
        let slot = slots.first_free().ok_or(MachineError::NoDiskSlot)?;
        disk.power_on();
        slots.fill(slot, disk)?;
        Ok(slot)
    }

    /// Takes the disk out of a slot, whatever the guest is doing with it. A driver that has not let go of the
    /// slot gets errors, and keeps the slot from being filled again.
    pub fn detach_disk(&self, slot: u8) {
        if let Some(hardware) = self.hardware().as_ref() {
            hardware.platform.disks.empty(slot);
        }
    }

    /// The names that Linux may give the platform device of a disk's slot: with ACPI tables, and without.
    pub fn disk_slot_names(slot: u8) -> [String; 2] {
        let index = slots::disk_number(slot);
        [format!("LNRO0005:{index:02x}"), format!("virtio-mmio.{index}")]
    }
}
