//! What a guest boots: a description, and changes to it.
//!
//! ```text
//! spec   what the guest boots where nothing else is said: kernel, initrd, command line, memory, vCPUs
//! boot   changes to that, of a declaration or of one boot
//! disk   disks among them
//! files  files among them, as archives for the kernel to unpack
//! module_tree, modules  the kernel's modules: all of them, and those that are loaded
//! share  folders of the host among them
//! error  why no machine can be made of it
//! ```
//!
//! Input: plain values, which are written into fixtures and read from there as they are. Output: the
//! monitor's `MachineConfig` and `DiskSpec`s. Not here: where the values come from; the limits of memory and
//! vCPUs, which whoever reads the values checks, and the monitor as well.

pub(crate) mod boot;
pub(crate) mod disk;
pub(crate) mod error;
pub(crate) mod files;
pub(crate) mod module_tree;
pub(crate) mod modules;
pub(crate) mod share;
pub(crate) mod spec;
