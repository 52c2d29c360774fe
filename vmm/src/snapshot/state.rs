//! A machine's state but for its memory, as one structure.
//!
//! Whatever is added here changes the format: [`FORMAT_VERSION`](super::FORMAT_VERSION) goes up, which a test
//! demands.

use std::path::{Path, PathBuf};

use provium_devices::legacy::serial::SerialState;
use provium_devices::virtio::mmio::TransportState;
use serde::{Deserialize, Serialize};

use super::{PageIndex, SnapshotError, SnapshotId};
use crate::kvm::chips_state::ChipsState;
use crate::kvm::host::HostModel;
use crate::kvm::vcpu_state::VcpuState;
use crate::machine::{MAX_CPUS, MAX_MEMORY, MIN_SHELL_MEMORY};

/// Everything that is in the file `state`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct MachineState {
    /// Names this content.
    pub id: SnapshotId,
    /// The host it was made on.
    pub host: HostModel,
    /// Nanoseconds since 1970 by the host's clock when it was saved.
    pub saved_at_ns: u64,
    /// What the machine is made of.
    pub shape: Shape,
    /// What is in the file `memory`.
    pub memory: MemoryState,
    /// vCPUs by their number.
    pub vcpus: Vec<VcpuState>,
    /// Interrupt chips and clock.
    pub chips: ChipsState,
    /// Every device.
    pub devices: DevicesState,
    /// What whoever saved it wants to find again.
    #[serde(with = "serde_bytes")]
    pub note: Vec<u8>,
}

/// What a machine is made of, as far as it must be equal for a restore.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Shape {
    /// Bytes of RAM.
    pub memory: u64,
    /// Number of vCPUs.
    pub cpus: u8,
}

/// The file `memory`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemoryState {
    /// The snapshot that has the pages which are not in the index.
    pub parent: Option<Parent>,
    /// The pages that are in the file.
    pub index: PageIndex,
}

/// A reference to a snapshot below.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Parent {
    /// Where it was.
    pub folder: PathBuf,
    /// What it was.
    pub id: SnapshotId,
}

/// The devices of [`Platform`](crate::machine::platform::Platform).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DevicesState {
    /// COM1.
    pub serial: SerialState,
    /// The PCI host bridge's address register.
    pub pci_address: u32,
    /// Virtio devices by their place on the bus.
    pub virtio: Vec<TransportState>,
}

impl MachineState {
    /// Refuses a state that this monitor cannot have saved, as far as that can be told without a machine.
    pub(crate) fn check(&self, folder: &Path) -> Result<(), SnapshotError> {
        let damaged = |what: String| {
            let folder = folder.to_owned();
            Err(SnapshotError::Damaged { folder, what })
        };
        let Shape { memory, cpus } = self.shape;
        if !(MIN_SHELL_MEMORY..=MAX_MEMORY).contains(&memory) || !memory.is_multiple_of(4096) {
            return damaged(format!("{memory} bytes of memory"));
        }
        if !(1..=MAX_CPUS).contains(&cpus) || self.vcpus.len() != usize::from(cpus) {
            return damaged(format!("{cpus} vCPUs and {} states of vCPUs", self.vcpus.len()));
        }
        if !self.chips.is_complete() {
            return damaged("interrupt chips are missing".to_owned());
        }
        if let Err(what) = self.memory.index.check(memory / 4096) {
            return damaged(what);
        }
        Ok(())
    }
}
