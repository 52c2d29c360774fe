//! What each virtio device is saved as: plain data that a snapshot holds.
//!
//! Input: nothing. Output: structures that are written and read. Not here: how a device makes its state and
//! takes one over.
//!
//! A snapshot's format is these structures and those of the queues ([`QueueState`]).

use serde::{Deserialize, Serialize};

use crate::QueueState;

/// The state of a transport: its registers, its queues, and the device behind it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TransportState {
    /// Device id, virtio 1.2 section 5.
    pub device_id: u32,
    /// The status register.
    pub status: u32,
    /// Register DeviceFeaturesSel: which half of the offered features is read.
    pub device_features_sel: u32,
    /// Register DriverFeaturesSel: which half of the accepted features is written.
    pub driver_features_sel: u32,
    /// The feature bits that the driver has accepted so far.
    pub driver_features: u64,
    /// Register QueueSel: the queue that the queue registers stand for.
    pub queue_sel: u32,
    /// Whether the device has the queues.
    pub active: bool,
    /// Interrupt status bits that the driver has not acknowledged.
    pub interrupt: u32,
    /// Every queue, the device's own while it is active.
    pub queues: Vec<QueueState>,
    /// The device's own state.
    pub device: DeviceState,
}

/// A device's own state, by its kind.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum DeviceState {
    /// The state of a virtio-blk device, or of an empty slot for one.
    Block(BlockState),
    /// The state of a virtio-fs device.
    Fs(FsState),
    /// The state of a virtio-rng device.
    Rng(RngState),
    /// The state of a virtio-vsock device.
    Vsock(VsockState),
}

/// What a virtio-blk device and a saved state of one must have in common.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlockState {
    /// Number of sectors of the medium; `None` for an empty slot.
    pub sectors: Option<u64>,
    /// Whether the driver was told that it cannot write.
    pub readonly: bool,
}

/// What a virtio-fs device shows, and what its guest knows of it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FsState {
    /// The shared folders, in the order of their numbers.
    pub folders: Vec<FsFolderState>,
    /// The next node's number.
    pub next_node: u64,
    /// What the guest knows, in the order of the numbers.
    pub nodes: Vec<FsNodeState>,
}

/// A folder of the host that a virtio-fs device shows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FsFolderState {
    /// Its path on the host, absolute.
    pub path: serde_bytes::ByteBuf,
    /// Whether the guest may change what is in it.
    pub writable: bool,
    /// Whether it is shown only as far as it is everybody's to see.
    pub public: bool,
}

/// One thing in a shared folder that the guest knows by a number.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FsNodeState {
    /// Its number.
    pub id: u64,
    /// The number of the folder it is in.
    pub parent: u64,
    /// Its name there; empty when it has none any more.
    pub name: serde_bytes::ByteBuf,
    /// Which of the shared folders it is in.
    pub folder: u32,
    /// Which of all files that ever had the name; `None` for a folder.
    pub identity: Option<u64>,
    /// Whether it is a folder that is shown without its content.
    pub closed: bool,
    /// How often the guest was told of it and has not forgotten it.
    pub lookups: u64,
}

/// Where a virtio-rng device's random bytes come from next.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RngState {
    /// Position of the seeded stream; `None` for the host's random bytes.
    pub stream: Option<u64>,
}

/// What a virtio-vsock device knows of its guest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VsockState {
    /// The guest's context id.
    pub guest_cid: u64,
    /// The next port the host connects from.
    pub next_port: u32,
    /// Headers of packets without payload that wait for a receive buffer, as on the wire.
    pub control: Vec<serde_bytes::ByteBuf>,
    /// The connections that are alive, by their ports.
    pub connections: Vec<ConnectionState>,
}

/// A vsock connection that is alive.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConnectionState {
    /// The host's port.
    pub host_port: u32,
    /// The guest's port.
    pub guest_port: u32,
    /// How far the connection is in its life.
    pub phase: PhaseState,
    /// Bytes from the guest that no reader has taken yet.
    #[serde(with = "serde_bytes")]
    pub received: Vec<u8>,
    /// What the guest may still do.
    pub guest: OpenDirections,
    /// What the host may still do.
    pub host: OpenDirections,
    /// The guest was asked for credit and has not answered.
    pub credit_requested: bool,
    /// Bytes readers have taken, modulo 2³².
    pub taken: u32,
    /// The part of `taken` that the guest was told of.
    pub advertised: u32,
    /// Bytes sent to the guest, modulo 2³².
    pub sent: u32,
    /// Bytes of the guest's receive buffer.
    pub guest_buffer: u32,
    /// Bytes the guest says it has taken, modulo 2³².
    pub guest_taken: u32,
}

/// The directions of a connection that are still open for one side.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpenDirections {
    /// It may send.
    pub sends: bool,
    /// It may receive.
    pub receives: bool,
}

/// How far a connection that is alive is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum PhaseState {
    /// The host has asked, the guest has not answered.
    Connecting,
    /// Bytes flow.
    Open,
    /// The host has let go, the guest has still to confirm.
    Closing,
}
