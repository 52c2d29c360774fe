//! The MultiProcessor table (Intel MP specification 1.4), for kernels without ACPI.
//!
//! Input: the number of vCPUs and the devices' slots. Output: a table in guest memory that names processors,
//! the interrupt controller and the pin of each interrupt. Not here: where devices are, which such kernels
//! read on the command line.

use provium_devices::GuestRam;
use vm_memory::{Bytes, GuestAddress};

use crate::layout;
use crate::slots::DeviceSlot;

const LOCAL_APIC_VERSION: u8 = 0x14;
const IO_APIC_VERSION: u8 = 0x11;
const CPU_ENABLED: u8 = 1;
const CPU_BOOT: u8 = 2;
const CPU_FAMILY_6: u32 = 0x600;
const CPU_HAS_APIC_FPU: u32 = 0x201;
/// Polarity and trigger mode of the ISA bus: rising edge.
const EDGE: u16 = 0;
/// Polarity and trigger mode of virtio devices: active high, rising edge (`Interrupt` in the devices says
/// why).
const EDGE_HIGH: u16 = 0b0101;
const INTERRUPT: u8 = 0;
const NMI: u8 = 1;
const EXT_INT: u8 = 3;
const ALL_LOCAL_APICS: u8 = 0xff;

/// The table is larger than its place in memory; the number is its own, in bytes.
#[derive(Debug, thiserror::Error)]
#[error("the MP table needs {0} bytes; there is room for 1024")]
pub struct MpTableError(usize);

/// Writes the table into the extended BIOS data area, where kernels look for it.
pub(crate) fn write(ram: &GuestRam, cpus: u8, devices: &[DeviceSlot]) -> Result<(), MpTableError> {
    let table = table(cpus, devices);
    let address = layout::EBDA_START + 16;
    let mut pointer = Vec::with_capacity(16);
    pointer.extend_from_slice(b"_MP_");
    pointer.extend_from_slice(&(address as u32).to_le_bytes());
    pointer.extend_from_slice(&[1, 4, 0, 0, 0, 0, 0, 0]); // 16 bytes, version 1.4, checksum, features
    pointer[10] = checksum(&pointer);
    let room = 0xa_0000 - address;
    let len = table.len();
    if len as u64 > room {
        return Err(MpTableError(len));
    }
    ram.write_slice(&pointer, GuestAddress(layout::EBDA_START))
        .map_err(|_| MpTableError(len))?;
    ram.write_slice(&table, GuestAddress(address))
        .map_err(|_| MpTableError(len))
}

fn table(cpus: u8, devices: &[DeviceSlot]) -> Vec<u8> {
    let io_apic_id = cpus;
    let mut entries: Vec<Vec<u8>> = Vec::new();
    for cpu in 0..cpus {
        let flags = CPU_ENABLED | if cpu == 0 { CPU_BOOT } else { 0 };
        let mut entry = vec![0, cpu, LOCAL_APIC_VERSION, flags];
        entry.extend_from_slice(&CPU_FAMILY_6.to_le_bytes());
        entry.extend_from_slice(&CPU_HAS_APIC_FPU.to_le_bytes());
        entry.extend_from_slice(&[0; 8]);
        entries.push(entry);
    }
    entries.push([&[1, 0][..], b"ISA   "].concat());
    let io_apic = layout::IOAPIC.to_le_bytes();
    entries.push([&[2, io_apic_id, IO_APIC_VERSION, 1][..], &io_apic].concat());
    for irq in 0..layout::IOAPIC_PINS as u8 {
        let virtio = devices.iter().any(|device| device.gsi == u32::from(irq));
        let flags = if virtio { EDGE_HIGH } else { EDGE };
        entries.push(interrupt(3, INTERRUPT, flags, irq, io_apic_id, irq));
    }
    entries.push(interrupt(4, EXT_INT, EDGE, 0, 0, 0));
    entries.push(interrupt(4, NMI, EDGE, 0, ALL_LOCAL_APICS, 1));

    let len = 44 + entries.iter().map(Vec::len).sum::<usize>();
    let mut table = Vec::with_capacity(len);
    table.extend_from_slice(b"PCMP");
    table.extend_from_slice(&(len as u16).to_le_bytes());
    table.extend_from_slice(&[4, 0]); // version 1.4, checksum
    table.extend_from_slice(b"PROVIUM MICROVM     ");
    table.extend_from_slice(&[0; 6]); // no OEM table
    table.extend_from_slice(&(entries.len() as u16).to_le_bytes());
    table.extend_from_slice(&layout::LOCAL_APIC.to_le_bytes());
    table.extend_from_slice(&[0; 4]); // no extended entries
    table.extend(entries.into_iter().flatten());
    table[7] = checksum(&table);
    table
}

fn interrupt(entry: u8, kind: u8, flags: u16, irq: u8, apic: u8, pin: u8) -> Vec<u8> {
    let [low, high] = flags.to_le_bytes();
    vec![entry, kind, low, high, 0, irq, apic, pin]
}

fn checksum(bytes: &[u8]) -> u8 {
    bytes.iter().fold(0u8, |sum, byte| sum.wrapping_sub(*byte))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::MAX_CPUS;
    use crate::slots::TABLE;

    #[test]
    fn the_table_is_found_sums_to_zero_and_fits_with_all_processors_and_devices() {
        let ram = GuestRam::from_ranges(&layout::ram_ranges(64 << 20)).unwrap();
        write(&ram, MAX_CPUS, &TABLE).unwrap();
        let mut area = vec![0; 0x400];
        ram.read_slice(&mut area, GuestAddress(layout::EBDA_START))
            .unwrap();
        let sum = |bytes: &[u8]| bytes.iter().fold(0u8, |sum, byte| sum.wrapping_add(*byte));
        assert_eq!((&area[..4], sum(&area[..16])), (&b"_MP_"[..], 0));
        let len = usize::from(u16::from_le_bytes([area[20], area[21]]));
        assert_eq!(sum(&area[16..16 + len]), 0);
        let (processors, rest) = area[16 + 44..16 + len].split_at(20 * usize::from(MAX_CPUS));
        for (id, entry) in (0..).zip(processors.chunks(20)) {
            let flags = if id == 0 {
                CPU_ENABLED | CPU_BOOT
            } else {
                CPU_ENABLED
            };
            assert_eq!(entry[..4], [0, id, LOCAL_APIC_VERSION, flags]);
        }
        assert_eq!(rest[0], 1, "the bus follows the last processor");
        assert_eq!(
            rest[8..10],
            [2, MAX_CPUS],
            "the I/O interrupt controller's id is no processor's"
        );
        let virtio = interrupt(3, INTERRUPT, EDGE_HIGH, 5, MAX_CPUS, 5);
        assert_eq!(rest.windows(8).filter(|w| *w == virtio).count(), 1);
    }
}
