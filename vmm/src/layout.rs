//! Where things are in the guest's physical address space and among its ports.
//!
//! Input: bytes of memory, for [`ram_ranges`]. Output: constants. Not here: virtio devices, whose addresses
//! and interrupt lines are in `slots`.
//!
//! Below 1 MiB the PC's conventions hold; between [`HOLE_START`] and 4 GiB there is no RAM but the devices;
//! RAM that does not fit below the hole goes on at 4 GiB.

use vm_memory::GuestAddress;

/// Global descriptor table for the first instructions.
pub(crate) const GDT: GuestAddress = GuestAddress(0x500);
/// Interrupt descriptor table, empty.
pub(crate) const IDT: GuestAddress = GuestAddress(0x520);
/// The zero page, Linux's `struct boot_params`.
pub(crate) const BOOT_PARAMS: GuestAddress = GuestAddress(0x7000);
/// Stack pointer of the boot vCPU at its first instruction.
pub(crate) const BOOT_STACK: u64 = 0x8ff0;
/// Page tables that map the first GiB onto itself: one page a level.
pub(crate) const PML4: GuestAddress = GuestAddress(0x9000);
/// Page tables, second level.
pub(crate) const PDPT: GuestAddress = GuestAddress(0xa000);
/// Page tables, third level, of 2 MiB pages.
pub(crate) const PD: GuestAddress = GuestAddress(0xb000);
/// The kernel's command line.
pub(crate) const CMDLINE: GuestAddress = GuestAddress(0x2_0000);
/// Bytes of the longest command line with its final zero: x86's COMMAND_LINE_SIZE.
pub(crate) const CMDLINE_MAX: usize = 2048;
/// End of conventional memory; the extended BIOS data area with the MP table follows.
pub(crate) const EBDA_START: u64 = 0x9_fc00;
/// ACPI tables, in the area that kernels search.
pub(crate) const ACPI_START: GuestAddress = GuestAddress(0xe_0000);
/// Extended memory: kernels start here or above.
pub(crate) const HIMEM_START: GuestAddress = GuestAddress(0x10_0000);

/// First address without RAM.
pub(crate) const HOLE_START: u64 = 0xc000_0000;
/// First address of RAM above the hole.
pub(crate) const HOLE_END: u64 = 0x1_0000_0000;
/// Registers of virtio devices; `slots` says whose are where.
pub(crate) const VIRTIO_MMIO: u64 = 0xd000_0000;
/// Registers of the I/O interrupt controller.
pub(crate) const IOAPIC: u32 = 0xfec0_0000;
/// Pins of the I/O interrupt controller that KVM emulates.
pub(crate) const IOAPIC_PINS: u32 = 24;
/// Registers of each vCPU's local interrupt controller.
pub(crate) const LOCAL_APIC: u32 = 0xfee0_0000;
/// Page that KVM on Intel needs for real mode.
pub(crate) const IDENTITY_MAP: u64 = 0xfffb_c000;
/// Three pages that KVM on Intel needs for its task state.
pub(crate) const KVM_TSS: usize = 0xfffb_d000;

/// COM1's ports.
pub(crate) const SERIAL_PORT: u16 = 0x3f8;
/// COM1's interrupt line.
pub(crate) const SERIAL_GSI: u32 = 4;
/// The keyboard controller's ports.
pub(crate) const I8042_PORT: u16 = 0x60;
/// Ports of the ACPI reset, sleep control and sleep status registers.
pub(crate) const ACPI_POWER_PORT: u16 = 0x600;
/// Ports of the PCI configuration address and data registers.
pub(crate) const PCI_PORT: u16 = 0xcf8;
/// pvpanic's port.
pub(crate) const PVPANIC_PORT: u16 = 0x505;
/// The power button's interrupt line.
pub(crate) const POWER_BUTTON_GSI: u32 = 9;

/// The ranges of RAM of a guest with `memory` bytes of it: `(address, bytes)`, in ascending order.
pub(crate) fn ram_ranges(memory: u64) -> Vec<(GuestAddress, usize)> {
    let low = memory.min(HOLE_START);
    let mut ranges = vec![(GuestAddress(0), low as usize)];
    if memory > low {
        ranges.push((GuestAddress(HOLE_END), (memory - low) as usize));
    }
    ranges
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::MAX_MEMORY;

    #[test]
    fn memory_that_does_not_fit_below_the_hole_goes_on_at_four_gib() {
        assert_eq!(ram_ranges(64 << 20), [(GuestAddress(0), 64 << 20)]);
        assert_eq!(ram_ranges(HOLE_START), [(GuestAddress(0), 0xc000_0000)]);
        assert_eq!(
            ram_ranges(8 << 30),
            [
                (GuestAddress(0), 0xc000_0000),
                (GuestAddress(4 << 30), (5usize) << 30)
            ]
        );
    }

    #[test]
    fn the_most_memory_is_all_there_and_leaves_the_hole_to_the_devices() {
        let ranges = ram_ranges(MAX_MEMORY);
        let bytes: u64 = ranges.iter().map(|(_, bytes)| *bytes as u64).sum();
        assert_eq!(bytes, 64 << 30);
        let devices = [
            VIRTIO_MMIO,
            u64::from(IOAPIC),
            u64::from(LOCAL_APIC),
            IDENTITY_MAP,
            KVM_TSS as u64 + 0x3000 - 1,
        ];
        for (start, bytes) in ranges {
            let ram = start.0..start.0 + bytes as u64;
            assert!(ram.end <= HOLE_START || ram.start >= HOLE_END, "{ram:x?}");
            assert!(devices.iter().all(|device| !ram.contains(device)), "{ram:x?}");
        }
    }

    #[test]
    fn the_fixed_places_do_not_overlap() {
        let places = [
            (GDT.0, 0x20),
            (IDT.0, 8),
            (BOOT_PARAMS.0, 0x1000),
            (PML4.0, 0x1000),
            (PDPT.0, 0x1000),
            (PD.0, 0x1000),
            (CMDLINE.0, CMDLINE_MAX as u64),
            (EBDA_START, 0x400),
            (ACPI_START.0, 0x2_0000),
        ];
        for pair in places.windows(2) {
            assert!(
                pair[0].0 + pair[0].1 <= pair[1].0,
                "{:#x} and {:#x}",
                pair[0].0,
                pair[1].0
            );
        }
    }
}
