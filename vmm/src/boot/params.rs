//! The zero page and the command line.
//!
//! Input: [`Params`]. Output: both in guest memory, the memory map included. Not here: what the command line
//! says.

use linux_loader::configurator::{BootConfigurator, BootParams, linux::LinuxBootConfigurator};
use linux_loader::loader::bootparam::{boot_e820_entry, boot_params, setup_header};
use provium_devices::GuestRam;
use vm_memory::{Bytes, GuestAddress, GuestMemoryBackend, GuestMemoryRegion};

use crate::layout;

const E820_RAM: u32 = 1;
const E820_RESERVED: u32 = 2;

/// What the kernel is told besides its memory map.
pub(crate) struct Params<'a> {
    /// Header of the kernel's own image.
    pub(crate) header: setup_header,
    /// The command line, without final zero.
    pub(crate) cmdline: &'a str,
    /// Address and length of the initrd.
    pub(crate) initrd: Option<(GuestAddress, u32)>,
    /// Where the RSDP is, when there are ACPI tables.
    pub(crate) rsdp: Option<GuestAddress>,
}

/// Why the parameters cannot be written.
#[derive(Debug, thiserror::Error)]
pub enum ParamsError {
    /// The command line is longer than the kernel reads.
    #[error("the kernel command line has {len} bytes; x86 kernels take at most {}: `{start}…`", layout::CMDLINE_MAX - 1)]
    CommandLineTooLong {
        /// Bytes of the command line.
        len: usize,
        /// Its first 60 characters.
        start: String,
    },
    /// The command line has a zero byte, which would end it; the number is its position.
    #[error("the kernel command line has a zero byte at position {0}")]
    CommandLineZero(usize),
    /// Guest memory does not take them; the text says why.
    #[error("cannot write the boot parameters: {0}")]
    Memory(String),
}

/// Writes the command line and the zero page into guest memory.
pub(crate) fn write(ram: &GuestRam, params: &Params<'_>) -> Result<(), ParamsError> {
    let memory = |error: &dyn std::fmt::Display| ParamsError::Memory(error.to_string());
    let cmdline = params.cmdline.as_bytes();
    if let Some(at) = cmdline.iter().position(|&byte| byte == 0) {
        return Err(ParamsError::CommandLineZero(at));
    }
    if cmdline.len() >= layout::CMDLINE_MAX {
        let start = params.cmdline.chars().take(60).collect();
        return Err(ParamsError::CommandLineTooLong {
            len: cmdline.len(),
            start,
        });
    }
    ram.write_slice(cmdline, layout::CMDLINE)
        .map_err(|e| memory(&e))?;
    let end = GuestAddress(layout::CMDLINE.0 + cmdline.len() as u64);
    ram.write_slice(&[0], end).map_err(|e| memory(&e))?;

    let mut page = boot_params {
        hdr: params.header,
        ..boot_params::default()
    };
    page.hdr.type_of_loader = 0xff; // no registered loader
    page.hdr.cmd_line_ptr = layout::CMDLINE.0 as u32;
    page.hdr.cmdline_size = cmdline.len() as u32;
    if let Some((address, len)) = params.initrd {
        page.hdr.ramdisk_image = address.0 as u32;
        page.hdr.ramdisk_size = len;
    }
    if let Some(rsdp) = params.rsdp {
        page.acpi_rsdp_addr = rsdp.0;
    }
    let map = e820(ram);
    page.e820_entries = map.len() as u8;
    page.e820_table[..map.len()].copy_from_slice(&map);
    LinuxBootConfigurator::write_bootparams(&BootParams::new(&page, layout::BOOT_PARAMS), ram)
        .map_err(|e| memory(&e))
}

/// The memory map for the guest: RAM, and the two areas below 1 MiB that hold tables.
fn e820(ram: &GuestRam) -> Vec<boot_e820_entry> {
    let entry = |addr, end, kind| boot_e820_entry {
        addr,
        size: end - addr,
        r#type: kind,
    };
    let mut map = vec![
        entry(0, layout::EBDA_START, E820_RAM),
        entry(layout::EBDA_START, 0xa_0000, E820_RESERVED),
        entry(layout::ACPI_START.0, layout::HIMEM_START.0, E820_RESERVED),
    ];
    for region in ram.iter() {
        let start = region.start_addr().0.max(layout::HIMEM_START.0);
        map.push(entry(start, region.start_addr().0 + region.len(), E820_RAM));
    }
    map
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::MAX_MEMORY;

    fn ram(memory: u64) -> GuestRam {
        GuestRam::from_ranges(&layout::ram_ranges(memory)).unwrap()
    }

    fn params(cmdline: &str) -> Params<'_> {
        Params {
            header: setup_header::default(),
            cmdline,
            initrd: None,
            rsdp: None,
        }
    }

    #[test]
    fn the_memory_map_covers_all_ram_but_the_tables() {
        for memory in [64 << 20, 4u64 << 30, MAX_MEMORY] {
            let map = e820(&ram(memory));
            let usable: u64 = map.iter().filter(|e| e.r#type == E820_RAM).map(|e| e.size).sum();
            assert_eq!(usable, memory - (0x10_0000 - layout::EBDA_START));
            assert!(
                map.iter()
                    .all(|e| e.addr + e.size <= layout::HOLE_START || e.addr >= layout::HOLE_END)
            );
        }
    }

    #[test]
    fn the_command_line_arrives_and_too_long_ones_are_refused() {
        let ram = ram(64 << 20);
        write(&ram, &params("console=ttyS0 quiet")).unwrap();
        let mut bytes = [1; 20];
        ram.read_slice(&mut bytes, layout::CMDLINE).unwrap();
        assert_eq!(&bytes, b"console=ttyS0 quiet\0");
        let long = "x".repeat(layout::CMDLINE_MAX);
        let error = write(&ram, &params(&long)).unwrap_err().to_string();
        assert!(
            error.starts_with("the kernel command line has 2048 bytes; x86 kernels take at most 2047"),
            "{error}"
        );
        let error = write(&ram, &params("a\0b")).unwrap_err().to_string();
        assert_eq!(error, "the kernel command line has a zero byte at position 1");
    }
}
