//! From files to guest memory in which the first instruction can run.
//!
//! Input: kernel, initrd, command line, the slots of the devices. Output: memory filled as Linux's x86 boot
//! protocol wants it (`Documentation/arch/x86/boot.rst`, the 64-bit entry), and the entry's address. Not
//! here: the vCPU's registers (`kvm/regs.rs`), and what the command line says (`machine/config.rs`).

pub(crate) mod acpi;
pub(crate) mod kernel;
pub(crate) mod mptable;
pub(crate) mod params;
