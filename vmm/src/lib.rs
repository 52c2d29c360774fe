//! Provium's KVM monitor: one [`Machine`] is one guest.
//!
//! Input: a [`MachineConfig`]. Output: a running guest, its console's log, plain `Read + Write` streams to
//! it, and an
//! [`EndReason`]. Not here: Lua, what is said on the streams, caches of anything.
//!
//! ```text
//! machine    the guest's life: create, start, pause, save, load, end; its threads and devices
//! snapshot   a paused machine as a few files
//! disk       the media behind disks: image, overlay, undo log, faults
//! share      folders of the host as a file system of the guest
//! lost_pages pages of mapped files that cannot be had any more
//! layer      sparse files of pages with their indexes, which snapshots and saved disks are made of
//! soundness  whether this host's KVM can run a guest at all
//! boot       files → memory in which the first instruction can run
//! kvm        every ioctl
//! confine    what the threads of a machine may ask of the host's kernel
//! helper     a thread for what those of machines may not do
//! host_file  files of the host, if they are regular ones
//! cmdline    a kernel command line, read as the kernel reads it
//! slots      which device is at which address and on which interrupt line
//! layout     the guest's physical address space
//! limits     how much of everything a machine can have
//! ```
//!
//! A module uses those below it in this list, and none above.

mod boot;
pub mod cmdline;
mod confine;
pub mod disk;
mod helper;
pub mod host_file;
mod kvm;
mod layer;
mod layout;
pub mod limits;
mod lost_pages;
mod machine;
pub mod share;
mod slots;
pub mod snapshot;
pub mod soundness;
#[doc(hidden)]
pub mod untrusted;

pub use boot::acpi::AcpiError;
pub use boot::kernel::LoadError;
pub use boot::mptable::MpTableError;
pub use boot::params::ParamsError;
pub use helper::elsewhere;
pub use kvm::KvmError;
pub use kvm::host::HostModel;
pub use kvm::stats::KvmCounts;
pub use kvm::tsc::measured_khz as measured_tsc_khz;
pub use kvm::vcpu_place::VcpuPlace;
pub use machine::{
    Discovery, EndReason, Machine, MachineConfig, MachineError, SaveOptions, Splat, SplatKind, SplatListener,
    splats_in,
};
pub use provium_devices::StateError;
pub use provium_devices::bus::BusError;
pub use provium_devices::virtio::vsock::{VsockListener, VsockStream};
