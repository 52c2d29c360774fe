//! Guests of a few instructions, without Linux: they run on any KVM.
//!
//! Input: machine code for 64-bit mode, with memory mapped as it is.
//! Output: an ELF kernel, or a machine that runs it.
//! Not here: the code; each test, and the benchmark, has its own.

use std::io::Write;
use std::sync::Arc;

use anyhow::{Context, Result};
use object::elf;
use object::endian::{LittleEndian as LE, U16, U32, U64};
use object::pod::bytes_of;
use provium_vmm::disk::Disk;
use provium_vmm::{Discovery, Machine, MachineConfig};

/// Guest address at which a payload is loaded and entered.
const LOAD: u64 = 0x100_0000;
/// Offset of the code in the ELF file.
const CODE: usize = 0x1000;

/// An ELF kernel of these instructions, loaded at 16 MiB and entered there.
pub fn image(code: &[u8]) -> Vec<u8> {
    let headers = size_of::<elf::FileHeader64<LE>>();
    let header = elf::FileHeader64 {
        e_ident: elf::Ident {
            magic: elf::ELFMAG,
            class: elf::ELFCLASS64,
            data: elf::ELFDATA2LSB,
            version: elf::EV_CURRENT,
            os_abi: elf::ELFOSABI_NONE,
            abi_version: 0,
            padding: [0; 7],
        },
        e_type: U16::new(LE, elf::ET_EXEC),
        e_machine: U16::new(LE, elf::EM_X86_64),
        e_version: U32::new(LE, elf::EV_CURRENT.0.into()),
        e_entry: U64::new(LE, LOAD),
        e_phoff: U64::new(LE, headers as u64),
        e_shoff: U64::new(LE, 0),
        e_flags: U32::new(LE, elf::FileFlags(0)),
        e_ehsize: U16::new(LE, 0),
        e_phentsize: U16::new(LE, size_of::<elf::ProgramHeader64<LE>>() as u16),
        e_phnum: U16::new(LE, 1),
        e_shentsize: U16::new(LE, 0),
        e_shnum: U16::new(LE, 0),
        e_shstrndx: U16::new(LE, elf::SHN_UNDEF),
    };
    let segment = elf::ProgramHeader64 {
        p_type: U32::new(LE, elf::PT_LOAD),
        p_flags: U32::new(LE, elf::PF_R | elf::PF_W | elf::PF_X),
        p_offset: U64::new(LE, CODE as u64),
        p_vaddr: U64::new(LE, 0),
        p_paddr: U64::new(LE, LOAD),
        p_filesz: U64::new(LE, code.len() as u64),
        p_memsz: U64::new(LE, code.len() as u64),
        p_align: U64::new(LE, 0),
    };
    let mut image = [bytes_of(&header), bytes_of(&segment)].concat();
    image.resize(CODE, 0);
    image.extend_from_slice(code);
    image
}

/// A started machine of one vCPU that runs nothing but `code`.
///
/// # Errors
/// When the machine cannot be made or started.
pub fn start(code: &[u8], memory: u64) -> Result<Machine> {
    start_with(code, memory, 1, Vec::new())
}

/// The same with as many vCPUs, of which the code starts all but the first, and with disks.
///
/// # Errors
/// When the machine cannot be made or started.
pub fn start_with(code: &[u8], memory: u64, cpus: u8, disks: Vec<Arc<Disk>>) -> Result<Machine> {
    let mut file = tempfile::NamedTempFile::new().context("a file for the payload")?;
    file.write_all(&image(code)).context("write the payload")?;
    let machine = Machine::create(MachineConfig {
        kernel: file.path().to_owned(),
        initrd: None,
        early_initrd: Vec::new(),
        extra_initrds: Vec::new(),
        cmdline: String::new(),
        memory,
        cpus,
        rng_seed: None,
        discovery: Discovery::Acpi,
        shares: Vec::new(),
        disks,
    })?;
    machine.start()?;
    Ok(machine)
}
