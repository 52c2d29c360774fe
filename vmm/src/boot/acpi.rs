//! ACPI tables of a hardware-reduced PC: processors, interrupts, the virtio devices, how to power off.
//!
//! Input: the number of vCPUs and the devices' slots. Output: tables in guest memory and the RSDP's address.
//! Not here: tables for sleep states, power management or NUMA.
//!
//! Hardware-reduced (ACPI 6.5, section 4.1) leaves out the fixed registers of old: no PM timer, no SCI, no
//! PIT. Power-off and reset are one register each, the power button is an event device.

use acpi_tables::fadt::{FADTBuilder, Flags};
use acpi_tables::gas::{AccessSize, AddressSpace, GAS};
use acpi_tables::madt::{EnabledStatus, IoApic, LocalInterruptController, MADT, ProcessorLocalApic};
use acpi_tables::rsdp::Rsdp;
use acpi_tables::sdt::Sdt;
use acpi_tables::xsdt::XSDT;
use acpi_tables::{Aml, aml};
use provium_devices::GuestRam;
use provium_devices::legacy::power::AcpiPower;
use provium_devices::virtio::mmio::MMIO_SIZE;
use vm_memory::{Address, Bytes, GuestAddress};

use crate::layout;
use crate::slots::DeviceSlot;

const OEM_ID: [u8; 6] = *b"PROVIU";
const OEM_TABLE: [u8; 8] = *b"PROVIUM ";
const OEM_REVISION: u32 = 1;

/// Boot flags: neither VGA nor a CMOS clock is there to be probed (ACPI 6.5, table 5.11).
const BOOT_ARCH_NO_VGA_NO_RTC: u16 = (1 << 2) | (1 << 5);

/// The tables are larger than their place in memory; the number is theirs, in bytes.
#[derive(Debug, thiserror::Error)]
#[error("the ACPI tables need {0} bytes; there is room for 131072")]
pub struct AcpiError(usize);

/// Writes the tables into guest memory; gives the address of the RSDP.
pub(crate) fn write(ram: &GuestRam, cpus: u8, devices: &[DeviceSlot]) -> Result<GuestAddress, AcpiError> {
    let mut area = TableArea {
        bytes: vec![0; Rsdp::len().next_multiple_of(16)],
    };
    let dsdt = area.add(&dsdt(devices));
    let fadt = area.add(&fadt(dsdt));
    let madt = area.add(&madt(cpus));
    let mut xsdt = XSDT::new(OEM_ID, OEM_TABLE, OEM_REVISION);
    xsdt.add_entry(fadt);
    xsdt.add_entry(madt);
    let xsdt = area.add(&xsdt);
    let mut rsdp = Vec::new();
    Rsdp::new(OEM_ID, xsdt).to_aml_bytes(&mut rsdp);
    area.bytes[..rsdp.len()].copy_from_slice(&rsdp);
    let room = layout::HIMEM_START.0 - layout::ACPI_START.0;
    if area.bytes.len() as u64 > room {
        return Err(AcpiError(area.bytes.len()));
    }
    ram.write_slice(&area.bytes, layout::ACPI_START)
        .map_err(|_| AcpiError(area.bytes.len()))?;
    Ok(layout::ACPI_START)
}

/// Tables laid one behind the other, 16 bytes aligned, the RSDP's place first.
struct TableArea {
    bytes: Vec<u8>,
}

impl TableArea {
    fn add(&mut self, table: &dyn Aml) -> u64 {
        let offset = self.bytes.len().next_multiple_of(16);
        self.bytes.resize(offset, 0);
        table.to_aml_bytes(&mut self.bytes);
        layout::ACPI_START.unchecked_add(offset as u64).0
    }
}

fn port(offset: u64) -> GAS {
    let address = u64::from(layout::ACPI_POWER_PORT) + offset;
    GAS::new(AddressSpace::SystemIo, 8, 0, AccessSize::ByteAccess, address)
}

fn fadt(dsdt: u64) -> impl Aml {
    let mut fadt = FADTBuilder::new(OEM_ID, OEM_TABLE, OEM_REVISION)
        .dsdt_64(dsdt)
        .flag(Flags::HwReducedAcpi)
        .flag(Flags::ResetRegSup)
        .flag(Flags::PwrButton)
        .flag(Flags::SlpButton);
    fadt.iapc_boot_arch = BOOT_ARCH_NO_VGA_NO_RTC.into();
    fadt.reset_reg = port(AcpiPower::RESET);
    fadt.reset_value = AcpiPower::RESET_VALUE;
    fadt.sleep_control_reg = port(AcpiPower::SLEEP_CONTROL);
    fadt.sleep_status_reg = port(AcpiPower::SLEEP_STATUS);
    fadt.finalize()
}

fn madt(cpus: u8) -> impl Aml {
    let local = LocalInterruptController::Address(layout::LOCAL_APIC);
    let mut madt = MADT::new(OEM_ID, OEM_TABLE, OEM_REVISION, local);
    for cpu in 0..cpus {
        madt.add_structure(ProcessorLocalApic::new(cpu, cpu, EnabledStatus::Enabled));
    }
    madt.add_structure(IoApic::new(0, layout::IOAPIC, 0));
    madt
}

fn dsdt(devices: &[DeviceSlot]) -> impl Aml + use<> {
    let mut code = Vec::new();
    let s5 = aml::Package::new(vec![&AcpiPower::S5, &0u8]);
    aml::Name::new("_S5_".into(), &s5).to_aml_bytes(&mut code);
    devices.iter().for_each(|device| virtio(device, &mut code));
    serial(&mut code);
    pvpanic(&mut code);
    power_button(&mut code);
    let mut table = Sdt::new(*b"DSDT", 36, 2, OEM_ID, OEM_TABLE, OEM_REVISION);
    table.append_slice(&code);
    table
}

/// A virtio device, by the id that Linux's driver binds to (`virtio_mmio_acpi_match`).
fn virtio(device: &DeviceSlot, code: &mut Vec<u8>) {
    let name = format!("_SB_.V{:03}", device.number);
    let registers = aml::Memory32Fixed::new(true, device.base as u32, MMIO_SIZE as u32);
    // Edges: see `Interrupt` in the devices.
    let interrupt = aml::Interrupt::new(true, true, false, false, device.gsi);
    aml::Device::new(
        name.as_str().into(),
        vec![
            &aml::Name::new("_HID".into(), &"LNRO0005"),
            &aml::Name::new("_UID".into(), &device.number),
            &aml::Name::new("_CCA".into(), &1u8),
            &aml::Name::new(
                "_CRS".into(),
                &aml::ResourceTemplate::new(vec![&registers, &interrupt]),
            ),
        ],
    )
    .to_aml_bytes(code);
}

fn serial(code: &mut Vec<u8>) {
    let ports = aml::IO::new(layout::SERIAL_PORT, layout::SERIAL_PORT, 1, 8);
    let interrupt = aml::Interrupt::new(true, true, false, false, layout::SERIAL_GSI);
    aml::Device::new(
        "_SB_.COM1".into(),
        vec![
            &aml::Name::new("_HID".into(), &aml::EISAName::new("PNP0501")),
            &aml::Name::new("_UID".into(), &0u8),
            &aml::Name::new(
                "_CRS".into(),
                &aml::ResourceTemplate::new(vec![&ports, &interrupt]),
            ),
        ],
    )
    .to_aml_bytes(code);
}

fn pvpanic(code: &mut Vec<u8>) {
    let ports = aml::IO::new(layout::PVPANIC_PORT, layout::PVPANIC_PORT, 1, 1);
    aml::Device::new(
        "_SB_.PEVT".into(),
        vec![
            &aml::Name::new("_HID".into(), &"QEMU0001"),
            &aml::Name::new("_STA".into(), &0xfu8),
            &aml::Name::new("_CRS".into(), &aml::ResourceTemplate::new(vec![&ports])),
        ],
    )
    .to_aml_bytes(code);
}

/// The button and the generic event device whose only event is its press (ACPI 6.5, section 5.6.9).
fn power_button(code: &mut Vec<u8>) {
    aml::Device::new(
        "_SB_.PWRB".into(),
        vec![
            &aml::Name::new("_HID".into(), &aml::EISAName::new("PNP0C0C")),
            &aml::Name::new("_UID".into(), &0u8),
        ],
    )
    .to_aml_bytes(code);
    let interrupt = aml::Interrupt::new(true, true, false, false, layout::POWER_BUTTON_GSI);
    let button = aml::Path::new("\\_SB_.PWRB");
    let pressed = aml::Notify::new(&button, &0x80u8);
    aml::Device::new(
        "_SB_.GEVT".into(),
        vec![
            &aml::Name::new("_HID".into(), &"ACPI0013"),
            &aml::Name::new("_UID".into(), &0u8),
            &aml::Name::new("_CRS".into(), &aml::ResourceTemplate::new(vec![&interrupt])),
            &aml::Method::new("_EVT".into(), 1, true, vec![&pressed]),
        ],
    )
    .to_aml_bytes(code);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::MAX_CPUS;
    use crate::slots::TABLE;

    /// Finds a table the way a kernel does: RSDP, XSDT, signature.
    fn table(ram: &GuestRam, rsdp: GuestAddress, signature: &[u8; 4]) -> Vec<u8> {
        let bytes_at = |at: u64| {
            let len: u32 = ram.read_obj(GuestAddress(at + 4)).unwrap();
            let mut bytes = vec![0; len as usize];
            ram.read_slice(&mut bytes, GuestAddress(at)).unwrap();
            bytes
        };
        let xsdt = bytes_at(ram.read_obj(GuestAddress(rsdp.0 + 24)).unwrap());
        xsdt[36..]
            .chunks(8)
            .map(|at| bytes_at(u64::from_le_bytes(at.try_into().unwrap())))
            .find(|table| table.starts_with(signature))
            .unwrap()
    }

    #[test]
    fn every_table_is_reachable_and_sums_to_zero() {
        let ram = GuestRam::from_ranges(&layout::ram_ranges(64 << 20)).unwrap();
        let rsdp = write(&ram, MAX_CPUS, &TABLE[..2]).unwrap();
        let sum = |bytes: &[u8]| bytes.iter().fold(0u8, |sum, byte| sum.wrapping_add(*byte));
        let fadt = table(&ram, rsdp, b"FACP");
        let madt = table(&ram, rsdp, b"APIC");
        assert_eq!((sum(&fadt), sum(&madt)), (0, 0));
        let processors: Vec<u8> = (0..MAX_CPUS).flat_map(|id| [0, 8, id, id, 1, 0, 0, 0]).collect();
        let (local, io) = madt[44..].split_at(processors.len());
        assert_eq!(
            local, processors,
            "every processor, enabled, with an id of its own"
        );
        assert_eq!(
            (io[0], io.len()),
            (1, 12),
            "then the I/O interrupt controller alone"
        );
        let dsdt_at = u64::from_le_bytes(fadt[140..148].try_into().unwrap());
        let len: u32 = ram.read_obj(GuestAddress(dsdt_at + 4)).unwrap();
        let mut dsdt = vec![0; len as usize];
        ram.read_slice(&mut dsdt, GuestAddress(dsdt_at)).unwrap();
        assert_eq!(sum(&dsdt), 0);
        let count = |needle: &[u8]| {
            dsdt.windows(needle.len())
                .filter(|window| *window == needle)
                .count()
        };
        assert_eq!(
            (count(b"LNRO0005"), count(b"ACPI0013"), count(b"QEMU0001")),
            (2, 1, 1)
        );
    }
}
