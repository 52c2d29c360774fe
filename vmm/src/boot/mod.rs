//! From files to a guest's memory in which the first instruction can run.
//!
//! Enters: kernel, initrd, command line, the list of devices. Leaves: memory filled as Linux's x86 boot
//! protocol wants it (`Documentation/arch/x86/boot.rst`, the 64-bit entry) and the entry's address.

pub(crate) mod acpi;
pub(crate) mod kernel;
pub(crate) mod mptable;
pub(crate) mod params;
