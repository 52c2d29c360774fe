//! [`Backend`]: what a disk's device asks of whoever has the bytes.
//!
//! Input: nothing. Output: one trait and its types. Not here: any backend.

use std::io;
use std::time::Duration;

use virtio_bindings::virtio_blk::VIRTIO_BLK_ID_BYTES;

/// Bytes of a sector, whatever the medium's own blocks are.
pub const SECTOR: u64 = 512;
/// Bytes of a medium's name.
pub const ID_BYTES: usize = VIRTIO_BLK_ID_BYTES as usize;

/// What a request asks of the medium.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Reads sectors: the first, and their number.
    Read(u64, u64),
    /// Writes sectors: the first, and their number.
    Write(u64, u64),
    /// Makes everything written so far last.
    Flush,
    /// Anything else.
    Other,
}

/// What the medium's faults do to a request; nothing by default.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct FaultEffect {
    /// Time that passes before anything is done.
    pub delay: Duration,
    /// Whether the request fails.
    pub fails: bool,
}

/// A medium: the bytes of a disk.
pub trait Backend: Send + Sync {
    /// Number of its sectors.
    fn sectors(&self) -> u64;
    /// Whether it cannot be written.
    fn is_readonly(&self) -> bool;
    /// Its name, for which the driver may ask; zeros follow a shorter one.
    fn id(&self) -> [u8; ID_BYTES];
    /// What faults do to a request that has come; asked once for each, and counted.
    fn fault_effect(&self, access: Access) -> FaultEffect;
    /// Reads whole sectors that exist, from `sector` on.
    fn read(&self, sector: u64, data: &mut [u8]) -> io::Result<()>;
    /// Writes whole sectors that exist, from `sector` on.
    fn write(&self, sector: u64, data: &[u8]) -> io::Result<()>;
    /// Makes what was written last.
    fn flush(&self) -> io::Result<()>;
}
