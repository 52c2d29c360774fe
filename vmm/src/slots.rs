//! The slot table: which virtio device is at which address of the MMIO bus, and on which interrupt line.
//!
//! Input: nothing. Output: [`TABLE`], from which follows whatever a guest is told of a device: its window of
//! registers, its line, its ACPI entry, its entry in the MP table, its argument on the command line. Not
//! here: the devices themselves (`machine/platform.rs`), and every address that is no virtio device's
//! ([`layout`]).
//!
//! A slot's number is its place on the bus, in the names that Linux gives devices, and in a snapshot. So no
//! row ever moves; new ones go to the end.

use provium_devices::virtio::mmio::MMIO_SIZE;

use crate::layout;
use crate::limits::{MAX_DISKS, MAX_NICS};

/// What a slot is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SlotUse {
    /// The socket device.
    Vsock,
    /// The source of random numbers.
    Rng,
    /// A disk, by the number of its slot among disks.
    Disk(u8),
    /// A network interface, by its number among those. Reserved: no machine creates one yet, and no guest is
    /// told of it.
    Nic(u8),
    /// The device that shows folders of the host. Guests are told of it when there are any.
    Fs,
}

/// One row of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct DeviceSlot {
    /// The row's place in the table.
    pub(crate) number: usize,
    /// What it is for.
    pub(crate) used_for: SlotUse,
    /// First address of the device's registers, [`MMIO_SIZE`] bytes.
    pub(crate) base: u64,
    /// The device's interrupt line: a pin of the I/O interrupt controller.
    pub(crate) gsi: u32,
}

const fn row(number: usize, used_for: SlotUse, gsi: u32) -> DeviceSlot {
    DeviceSlot {
        number,
        used_for,
        base: layout::VIRTIO_MMIO + number as u64 * MMIO_SIZE,
        gsi,
    }
}

/// The one line that two devices will have.
const SHARED_LINE: u32 = 6;
/// Number of the first row for a disk.
const FIRST_DISK: usize = 2;

/// All slots. Lines below 16 come first, which a kernel without ACPI reaches through its legacy controller as
/// well. The seventh interface has that of a second serial port, and shared folders that of a coprocessor,
/// neither of which a machine here has. With that all pins are taken, and the eighth interface will have its
/// line together with the source of random numbers: drivers on one line ask each of its devices, which is two
/// exits a device.
pub(crate) const TABLE: [DeviceSlot; FIRST_DISK + MAX_DISKS as usize + MAX_NICS as usize + 1] = [
    row(0, SlotUse::Vsock, 5),
    row(1, SlotUse::Rng, SHARED_LINE),
    row(2, SlotUse::Disk(0), 7),
    row(3, SlotUse::Disk(1), 10),
    row(4, SlotUse::Disk(2), 11),
    row(5, SlotUse::Disk(3), 12),
    row(6, SlotUse::Disk(4), 14),
    row(7, SlotUse::Disk(5), 15),
    row(8, SlotUse::Disk(6), 16),
    row(9, SlotUse::Disk(7), 17),
    row(10, SlotUse::Nic(0), 18),
    row(11, SlotUse::Nic(1), 19),
    row(12, SlotUse::Nic(2), 20),
    row(13, SlotUse::Nic(3), 21),
    row(14, SlotUse::Nic(4), 22),
    row(15, SlotUse::Nic(5), 23),
    row(16, SlotUse::Nic(6), 3),
    row(17, SlotUse::Nic(7), SHARED_LINE),
    row(18, SlotUse::Fs, 13),
];

/// The number of the row that is for disk slot `disk`.
pub(crate) fn disk_number(disk: u8) -> usize {
    FIRST_DISK + usize::from(disk)
}

impl DeviceSlot {
    /// The argument by which a kernel without ACPI finds the device (`drivers/virtio/virtio_mmio.c`).
    pub(crate) fn kernel_argument(&self) -> String {
        format!("virtio_mmio.device=4K@{:#x}:{}", self.base, self.gsi)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn windows_lie_one_behind_the_other_in_the_hole_below_the_interrupt_controllers() {
        for (index, slot) in TABLE.iter().enumerate() {
            assert_eq!(slot.number, index);
            assert!(slot.base >= layout::HOLE_START, "{slot:x?}");
            assert!(slot.base + MMIO_SIZE <= u64::from(layout::IOAPIC), "{slot:x?}");
        }
        for pair in TABLE.windows(2) {
            assert!(pair[0].base + MMIO_SIZE <= pair[1].base, "{pair:x?}");
        }
    }

    #[test]
    fn every_line_is_a_pin_of_its_own_but_for_the_shared_one() {
        let lines: BTreeSet<u32> = TABLE.iter().map(|slot| slot.gsi).collect();
        assert_eq!(lines.len(), TABLE.len() - 1, "two devices on one line");
        let on_shared = TABLE.iter().filter(|slot| slot.gsi == SHARED_LINE);
        let on_shared: Vec<SlotUse> = on_shared.map(|slot| slot.used_for).collect();
        assert_eq!(on_shared, [SlotUse::Rng, SlotUse::Nic(7)]);
        assert!(lines.iter().all(|line| *line < layout::IOAPIC_PINS), "{lines:?}");
        // The timer, the keyboard controller, the legacy controllers' cascade, the clock.
        let others = [0, 1, 2, 8, layout::SERIAL_GSI, layout::POWER_BUTTON_GSI];
        assert!(others.iter().all(|line| !lines.contains(line)), "{lines:?}");
    }

    #[test]
    fn there_is_room_for_every_disk_and_interface() {
        let count = |is: fn(&SlotUse) -> bool| TABLE.iter().filter(|slot| is(&slot.used_for)).count();
        assert_eq!(
            count(|kind| matches!(kind, SlotUse::Disk(_))),
            usize::from(MAX_DISKS)
        );
        assert_eq!(
            count(|kind| matches!(kind, SlotUse::Nic(_))),
            usize::from(MAX_NICS)
        );
        for disk in 0..MAX_DISKS {
            assert_eq!(TABLE[disk_number(disk)].used_for, SlotUse::Disk(disk));
        }
    }

    /// Guests in snapshots have been told these.
    #[test]
    fn what_guests_were_told_stays_as_it_was() {
        assert_eq!((TABLE[18].base, TABLE[18].gsi), (0xd001_2000, 13));
        let told: Vec<(u64, u32)> = TABLE[..10].iter().map(|slot| (slot.base, slot.gsi)).collect();
        let lines = [5, 6, 7, 10, 11, 12, 14, 15, 16, 17];
        let expected: Vec<(u64, u32)> = (0..10)
            .zip(lines)
            .map(|(index, line)| (0xd000_0000 + index * 0x1000, line))
            .collect();
        assert_eq!(told, expected);
        assert_eq!(TABLE[3].kernel_argument(), "virtio_mmio.device=4K@0xd0003000:10");
    }
}
