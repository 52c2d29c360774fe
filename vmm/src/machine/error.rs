//! Why a machine could not do what was asked.
//!
//! Input: errors of every part. Output: one type, with what was asked and what was found. Not here: why a
//! machine has ended (`end`).

use std::io;

use provium_devices::StateError;
use provium_devices::bus::BusError;

use super::end::EndReason;
use crate::boot::acpi::AcpiError;
use crate::boot::kernel::LoadError;
use crate::boot::mptable::MpTableError;
use crate::boot::params::ParamsError;
use crate::kvm::KvmError;
use crate::limits::{LimitError, MAX_DISKS};
use crate::share::ShareError;
use crate::snapshot::SnapshotError;

/// Why a machine could not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum MachineError {
    /// Something is beyond a limit.
    #[error(transparent)]
    Limit(#[from] LimitError),
    /// Kernel or initrd cannot be loaded.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// The boot parameters cannot be written.
    #[error(transparent)]
    Params(#[from] ParamsError),
    /// The ACPI tables do not fit.
    #[error(transparent)]
    Acpi(#[from] AcpiError),
    /// The MP table does not fit.
    #[error(transparent)]
    MpTable(#[from] MpTableError),
    /// KVM refused a call.
    #[error(transparent)]
    Kvm(#[from] KvmError),
    /// Two devices want one address.
    #[error(transparent)]
    Bus(#[from] BusError),
    /// The host does not give the guest's memory.
    #[error("cannot map {mib} MiB of guest memory: {cause}")]
    Memory {
        /// The memory that was asked for, in MiB.
        mib: u64,
        /// What the kernel said.
        cause: String,
    },
    /// A folder cannot be shared with the guest.
    #[error(transparent)]
    Share(#[from] ShareError),
    /// The host refused a thread or an event file.
    #[error("the host cannot serve another machine: {0}")]
    Host(#[from] io::Error),
    /// The machine has ended.
    #[error("the machine has ended: {0}")]
    Ended(EndReason),
    /// The machine has been started already.
    #[error("the machine has been started already")]
    Started,
    /// The machine has not been started yet.
    #[error("the machine has not been started yet")]
    NotStarted,
    /// The machine is running, and has to be paused for this.
    #[error("the machine is not paused")]
    NotPaused,
    /// Every slot for a disk is taken.
    #[error("all {MAX_DISKS} slots for disks are taken, or still held by the guest's driver")]
    NoDiskSlot,
    /// The machine writes into an image, which no snapshot can put back.
    #[error("disk `{disk}` writes into its image {}: a snapshot could not put that back", image.display())]
    WritableDisk {
        /// The disk's name.
        disk: String,
        /// The file of its image.
        image: std::path::PathBuf,
    },
    /// A snapshot cannot be written or used.
    #[error(transparent)]
    Snapshot(#[from] SnapshotError),
    /// A device cannot be put into the state a snapshot has for it.
    #[error("the snapshot cannot be restored: {0}")]
    State(#[from] StateError),
    /// The host's counters run at another speed than those of the snapshot's host.
    #[error("the snapshot's time stamp counter runs at {snapshot} kHz, and this host's at {host} kHz")]
    Frequency {
        /// The snapshot's frequency, in kHz.
        snapshot: u32,
        /// This host's frequency, in kHz.
        host: u32,
    },
    /// The snapshot is of a machine with other memory or vCPUs.
    #[error("the snapshot is of a machine with {snapshot}, and this one has {machine}")]
    Shape {
        /// Memory and vCPUs of the snapshot, in words.
        snapshot: String,
        /// Those of this machine.
        machine: String,
    },
}
