//! Disks: the media behind virtio-blk.
//!
//! Input: a [`DiskSpec`], the guest's requests (through
//! [`Backend`](provium_devices::virtio::block::Backend)), the host's own reads and writes. Output: bytes, and
//! files on the host that have no name. Not here: slots and how a guest learns of a disk, which is the
//! machine's; formats other than raw.
//!
//! A disk outlives the machine it is in: a guest that boots again finds what it wrote.
//!
//! ```text
//! spec     what a disk is made of
//! medium   the disk itself: requests, faults, power
//! store    where the bytes are: overlay, snapshot's layer, image; what a power cut takes back
//! blocks   sets of block numbers
//! image    an image file, and whether it is as it was
//! fault    requests that fail or take their time
//! overlay_files  the files that guests' writes go to, and who hears when that fails
//! space    how much they take
//! saved    a disk in a snapshot's folder
//! ```

mod blocks;
mod error;
mod fault;
mod image;
mod medium;
mod overlay_files;
pub(crate) mod saved;
mod space;
mod spec;
mod store;
#[cfg(test)]
mod tests;

pub use error::{DiskError, SavedDiskError};
pub use fault::{Fault, FaultMode};
pub use image::{ForeignFormat, ImageStamp, foreign_format};
pub use medium::Disk;
pub use overlay_files::{keep_overlays_in, tell_of_failures};
pub use saved::{DiskState, ImageDigest, ImageState};
pub use space::limit_overlays;
pub use spec::{DiskSpec, MAX_DISK};
