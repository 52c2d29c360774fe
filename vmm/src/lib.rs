//! Provium's KVM monitor: one [`Machine`] is one guest.
//!
//! Enters: a [`MachineConfig`]. Leaves: a running guest, its console's log, plain `Read + Write` streams to
//! it, and an [`EndReason`]. Absent on purpose: Lua, what is said on the streams, caches of anything.
//!
//! ```text
//! machine   the guest's life: create, start, pause, save, load, end; its threads and devices
//! snapshot  a paused machine as a few files
//! disk      what is behind a disk: image, overlay, undo log, faults
//! boot      files → memory the first instruction can run in
//! kvm       every ioctl
//! layout    the guest's physical address space
//! ```

mod boot;
pub mod cmdline;
pub mod disk;
mod kvm;
mod layer;
mod layout;
pub mod limits;
mod machine;
mod slots;
pub mod snapshot;
pub mod soundness;

pub use boot::acpi::AcpiError;
pub use boot::kernel::LoadError;
pub use boot::mptable::MpTableError;
pub use boot::params::ParamsError;
pub use kvm::KvmError;
pub use kvm::host::HostModel;
pub use kvm::tsc::measured_khz as measured_tsc_khz;
pub use machine::{Discovery, EndReason, Machine, MachineConfig, MachineError, SaveOptions};
pub use provium_devices::StateError;
pub use provium_devices::bus::BusError;
pub use provium_devices::virtio::vsock::{VsockListener, VsockStream};
