//! From files to a guest's memory in which the first instruction can run.
//!
//! Enters: kernel, initrd, command line, the list of devices. Leaves: memory filled as Linux's x86 boot
//! protocol wants it (`Documentation/arch/x86/boot.rst`, the 64-bit entry) and the entry's address.

pub(crate) mod acpi;
pub(crate) mod kernel;
pub(crate) mod mptable;
pub(crate) mod params;

/// A virtio device as the guest is told of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct MmioDevice {
    /// First address of its registers, one page.
    pub(crate) base: u64,
    /// Its interrupt.
    pub(crate) gsi: u32,
}

/// The argument by which a kernel without ACPI finds a device (`drivers/virtio/virtio_mmio.c`).
pub(crate) fn device_argument(device: &MmioDevice) -> String {
    format!("virtio_mmio.device=4K@{:#x}:{}", device.base, device.gsi)
}
