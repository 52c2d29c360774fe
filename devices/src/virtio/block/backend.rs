//! [`Backend`]: what a disk's device asks of whoever has the bytes.

use std::io;
use std::time::Duration;

use virtio_bindings::virtio_blk::VIRTIO_BLK_ID_BYTES;

/// Bytes of a sector, whatever the medium's own blocks are.
pub const SECTOR: u64 = 512;
/// Bytes of a medium's name.
pub const ID_BYTES: usize = VIRTIO_BLK_ID_BYTES as usize;

/// What a request wants of the medium.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Read sectors: the first, how many.
    Read(u64, u64),
    /// Write sectors: the first, how many.
    Write(u64, u64),
    /// Make everything written so far last.
    Flush,
    /// Anything else.
    Other,
}

/// What becomes of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct FaultEffect {
    /// How long it takes before anything is done.
    pub delay: Duration,
    /// Whether it fails.
    pub fails: bool,
}

/// A medium.
pub trait Backend: Send + Sync {
    /// Its sectors.
    fn sectors(&self) -> u64;
    /// Whether it cannot be written.
    fn is_readonly(&self) -> bool;
    /// Its name, as the driver may ask for it; zeros follow a shorter one.
    fn id(&self) -> [u8; ID_BYTES];
    /// A request has come; asked once for each.
    fn fault_effect(&self, access: Access) -> FaultEffect;
    /// Reads whole sectors that exist, from `sector` on.
    fn read(&self, sector: u64, data: &mut [u8]) -> io::Result<()>;
    /// Writes whole sectors that exist, from `sector` on.
    fn write(&self, sector: u64, data: &[u8]) -> io::Result<()>;
    /// Makes what was written last.
    fn flush(&self) -> io::Result<()>;
}
