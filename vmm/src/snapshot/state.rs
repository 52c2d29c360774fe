//! A machine's state but for its memory, as one structure.
//!
//! Input: what each part of a machine saves. Output: a [`MachineState`], checked as far as that goes without
//! a machine. Not here: how it is written (`format`).
//!
//! Whatever is added here changes the format: [`FORMAT_VERSION`](super::FORMAT_VERSION) goes up, which a test
//! demands.

use std::path::{Path, PathBuf};

use provium_devices::legacy::serial::SerialState;
use provium_devices::virtio::saved::{DeviceState, TransportState};
use serde::{Deserialize, Serialize};

use super::error::SnapshotError;
use super::id::SnapshotId;
use crate::disk::DiskState;
use crate::kvm::chips_state::ChipsState;
use crate::kvm::host::HostModel;
use crate::kvm::vcpu_state::VcpuState;
use crate::layer::PageIndex;
use crate::limits::{self, MAX_DISKS};

/// Everything that is in the file `state`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct MachineState {
    /// The id of this content.
    pub id: SnapshotId,
    /// The host it was made on.
    pub host: HostModel,
    /// Nanoseconds since 1970 by the host's clock when it was saved.
    pub saved_at_ns: u64,
    /// The machine's memory and vCPUs.
    pub shape: Shape,
    /// The file `memory`.
    pub memory: MemoryState,
    /// The vCPUs, by their numbers.
    pub vcpus: Vec<VcpuState>,
    /// Interrupt chips and clock.
    pub chips: ChipsState,
    /// The devices.
    pub devices: DevicesState,
    /// The disks, in the order of their slots.
    pub disks: Vec<DiskState>,
    /// Bytes that whoever saved it wants to find again.
    #[serde(with = "serde_bytes")]
    pub note: Vec<u8>,
}

/// Memory and vCPUs of a machine: what must be equal for a snapshot to be loaded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Shape {
    /// Bytes of RAM.
    pub memory: u64,
    /// Number of vCPUs.
    pub cpus: u8,
}

/// What the file `memory` holds.
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
    /// The folder it was in.
    pub folder: PathBuf,
    /// The id it had.
    pub id: SnapshotId,
}

/// The machine's devices.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DevicesState {
    /// COM1.
    pub serial: SerialState,
    /// The PCI host bridge's address register.
    pub pci_address: u32,
    /// The virtio devices, in the order of their slots.
    pub virtio: Vec<TransportState>,
}

impl DevicesState {
    /// Whether folders of the host are shared with the guest.
    pub(crate) fn has_shares(&self) -> bool {
        let mut devices = self.virtio.iter().map(|transport| &transport.device);
        devices.any(|device| matches!(device, DeviceState::Fs(fs) if !fs.folders.is_empty()))
    }
}

impl MachineState {
    /// Refuses a state that this monitor cannot have saved, as far as that shows without a machine.
    ///
    /// # Errors
    /// [`SnapshotError::Damaged`] with the value that cannot be.
    pub(crate) fn check(&self, folder: &Path) -> Result<(), SnapshotError> {
        let damaged = |what: String| {
            let folder = folder.to_owned();
            Err(SnapshotError::Damaged { folder, what })
        };
        let Shape { memory, cpus } = self.shape;
        if limits::check_snapshot_memory(memory).is_err() {
            return damaged(format!("{memory} bytes of memory"));
        }
        if limits::check_cpus(cpus).is_err() || self.vcpus.len() != usize::from(cpus) {
            return damaged(format!("{cpus} vCPUs and {} states of vCPUs", self.vcpus.len()));
        }
        if !self.chips.is_complete() {
            return damaged("interrupt chips are missing".to_owned());
        }
        if let Err(what) = self.memory.index.check(memory / 4096) {
            return damaged(what);
        }
        let mut free = 0;
        for disk in &self.disks {
            if disk.slot < free {
                return damaged(format!("disk slot {} out of order", disk.slot));
            }
            if let Err(what) = disk.check(MAX_DISKS) {
                return damaged(what);
            }
            free = disk.slot + 1;
        }
        Ok(())
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use kvm_bindings::{
        kvm_debugregs, kvm_irqchip, kvm_lapic_state, kvm_mp_state, kvm_regs, kvm_sregs, kvm_vcpu_events,
        kvm_xcrs,
    };
    use provium_devices::QueueState;
    use provium_devices::virtio::DeviceState;
    use provium_devices::virtio::saved::{
        BlockState, ConnectionState, FsFolderState, FsNodeState, FsState, OpenDirections, PhaseState,
        RngState, VsockState,
    };

    use super::*;
    use crate::disk::{ImageStamp, ImageState};
    use crate::kvm::msrs::MsrState;

    /// A state with something in every place, the same on every call.
    pub(crate) fn sample() -> MachineState {
        MachineState {
            id: SnapshotId(0x0123_4567_89ab_cdef, 0xfedc_ba98_7654_3210),
            host: HostModel {
                cpu: "A Processor".to_owned(),
                cpuid: 0x1122_3344_5566_7788,
                kernel: "6.1.0".to_owned(),
            },
            saved_at_ns: 1_700_000_000_123_456_789,
            shape: Shape {
                memory: 64 << 20,
                cpus: 2,
            },
            memory: MemoryState {
                parent: Some(Parent {
                    folder: PathBuf::from("/snapshots/parent"),
                    id: SnapshotId(1, 2),
                }),
                index: PageIndex {
                    runs: vec![(0, 3), (100, 1), (16_383, 1)],
                    checksum: 0x99aa_bbcc_ddee_ff00,
                },
            },
            vcpus: vec![vcpu(1), vcpu(2)],
            chips: ChipsState {
                irqchips: (0..3)
                    .map(|chip_id| kvm_irqchip {
                        chip_id,
                        ..Default::default()
                    })
                    .collect(),
                clock_ns: 3_000_000_000,
            },
            devices: devices(),
            disks: vec![DiskState {
                slot: 1,
                id: "data".to_owned(),
                size: 1 << 20,
                readonly: false,
                powered: true,
                image: Some(ImageState {
                    path: PathBuf::from("/images/data"),
                    stamp: ImageStamp {
                        len: 1 << 20,
                        modified_ns: 1_700_000_000_000_000_001,
                    },
                    digest: Some([5; 32]),
                }),
                content: PageIndex {
                    runs: vec![(1, 2)],
                    checksum: 3,
                },
                undo: PageIndex::default(),
            }],
            note: b"what the caller wants to find again".to_vec(),
        }
    }

    fn vcpu(number: u8) -> VcpuState {
        let word = u64::from(number) << 32;
        let mut lapic = kvm_lapic_state::default();
        lapic.regs[0x23] = number as _;
        VcpuState {
            mp_state: kvm_mp_state {
                mp_state: u32::from(number),
            },
            regs: kvm_regs {
                rax: word | 1,
                rip: word | 2,
                rflags: 0x202,
                ..Default::default()
            },
            sregs: kvm_sregs {
                cr3: word | 3,
                efer: 0xd01,
                ..Default::default()
            },
            xsave: (0..4096u32).map(|at| (at / 16) as u8 ^ number).collect(),
            xcrs: (number == 1).then(|| kvm_xcrs {
                nr_xcrs: 1,
                ..Default::default()
            }),
            debug_regs: kvm_debugregs {
                dr6: 0xffff_0ff0,
                dr7: 0x400 | u64::from(number),
                ..Default::default()
            },
            lapic,
            msrs: (0..4)
                .map(|index| MsrState {
                    index: 0xc000_0080 + index,
                    data: word | u64::from(index),
                })
                .collect(),
            events: kvm_vcpu_events {
                sipi_vector: u32::from(number),
                exception_payload: word,
                ..Default::default()
            },
            tsc: word | 4,
            tsc_khz: 2_000_000,
        }
    }

    fn devices() -> DevicesState {
        let queue = QueueState {
            max_size: 256,
            size: 128,
            ready: true,
            event_idx: true,
            next_avail: 7,
            next_used: 6,
            desc_table: 0x1000,
            avail_ring: 0x2000,
            used_ring: 0x3000,
        };
        let vsock = VsockState {
            guest_cid: 3,
            next_port: 0x4000_0001,
            control: vec![vec![1; 44].into()],
            connections: vec![ConnectionState {
                host_port: 70,
                guest_port: 1000,
                phase: PhaseState::Open,
                received: b"unread".to_vec(),
                guest: OpenDirections {
                    sends: true,
                    receives: true,
                },
                host: OpenDirections {
                    sends: false,
                    receives: true,
                },
                credit_requested: true,
                taken: 10,
                advertised: 9,
                sent: 8,
                guest_buffer: 65_536,
                guest_taken: 7,
            }],
        };
        let shares = FsState {
            folders: vec![FsFolderState {
                path: b"/home/me/src".to_vec().into(),
                writable: true,
                public: false,
            }],
            next_node: 9,
            nodes: vec![FsNodeState {
                id: 2,
                parent: 1,
                name: b"0".to_vec().into(),
                folder: 0,
                identity: None,
                closed: false,
                lookups: 3,
            }],
        };
        let transport = |device_id, device, queues| TransportState {
            device_id,
            status: 15,
            device_features_sel: 1,
            driver_features_sel: 1,
            driver_features: 1 << 32,
            queue_sel: 1,
            active: true,
            interrupt: 1,
            queues: vec![queue; queues],
            device,
        };
        DevicesState {
            serial: SerialState {
                registers: [12, 0, 3, 1, 3, 0x60, 8, 0, 9],
                fifo: b"in".to_vec(),
                input: b"later".to_vec(),
            },
            pci_address: 0x8000_0000,
            virtio: vec![
                transport(19, DeviceState::Vsock(vsock), 3),
                transport(4, DeviceState::Rng(RngState { stream: Some(42) }), 1),
                transport(
                    2,
                    DeviceState::Block(BlockState {
                        sectors: Some(2048),
                        readonly: false,
                    }),
                    1,
                ),
                transport(26, DeviceState::Fs(shares), 2),
            ],
        }
    }

    #[test]
    fn a_state_no_machine_can_have_is_refused() {
        let folder = Path::new("/nowhere");
        sample().check(folder).unwrap();
        type Spoil = fn(&mut MachineState);
        let spoils: [(&str, Spoil); 13] = [
            ("slot 8", |state| state.disks[0].slot = 8),
            ("out of order", |state| state.disks.push(state.disks[0].clone())),
            ("a disk of 100 bytes", |state| state.disks[0].size = 100),
            ("page 256", |state| state.disks[0].undo.runs.push((256, 1))),
            ("0 bytes of memory", |state| state.shape.memory = 0),
            ("bytes of memory", |state| state.shape.memory += 1),
            ("bytes of memory", |state| state.shape.memory = !4095),
            ("1 vCPUs and 2 states", |state| state.shape.cpus = 1),
            ("0 vCPUs", |state| {
                state.shape.cpus = 0;
                state.vcpus.clear();
            }),
            ("2 vCPUs and 3 states", |state| state.vcpus.push(vcpu(3))),
            ("chips are missing", |state| {
                state.chips.irqchips.pop();
            }),
            ("chips are missing", |state| state.chips.irqchips.swap(0, 2)),
            ("page 16384", |state| state.memory.index.runs.push((16_384, 1))),
        ];
        for (expected, spoil) in spoils {
            let mut state = sample();
            spoil(&mut state);
            let error = state.check(folder).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
    }
}
