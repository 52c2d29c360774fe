//! Snapshots: a paused machine as a few files, and back.
//!
//! Input: a folder with the files of a snapshot. Output: its state checked, its memory ready to be mapped,
//! its disks ready to be made. Not here: taking a machine's state and putting it back (`machine`); where
//! snapshots are stored, what they are named and when they are stale.
//!
//! ```text
//! open     a snapshot that was opened: state, memory image, disks
//! state    what is in the file `state`: every vCPU, chip and device, in one structure
//! format   that file's frame: magic, version, length, checksum
//! files    names of the files, version of the format
//! image    one snapshot's memory as a machine maps it: its own layer over its parents'
//! dirty    which pages have changed since a machine was equal to a snapshot
//! touched  the pages that guests of a snapshot write first
//! pages    the number of a page, and where that page is in guest memory
//! ```
//!
//! # The format
//!
//! `memory` has the guest's pages at their places: the bytes of RAM from address 0, then those above 4 GiB,
//! without the hole between them. It is sparse. Of a snapshot without parent, pages that are not in the index
//! are zero; of one with a parent they are the parent's, and what the file has there is never looked at.
//!
//! `disk-N` and `disk-N.undo`, for the disk in slot N, have its blocks at their places in the same way: those
//! that differ from its image, and those that a power cut would bring back.
//!
//! `state` is, little-endian: the magic `PROVIUM\0`, the format's version (u32), the length of what follows
//! but for the checksum (u64), a [`MachineState`](state::MachineState) in MessagePack with named fields, and
//! the XXH3-64 of everything before it.
//!
//! `touched`, where somebody has tried, says which pages a guest writes first. It is advice, and may be
//! missing.
//!
//! A machine maps `memory` copy-on-write, so the file must not change while it is used. Opening a snapshot
//! checks `state` in full; `memory` is checked by its size then, and by [`Snapshot::verify`] in full: that
//! reads all of it, and is for whoever does not know where the file has been since it was written.

pub(crate) mod dirty;
mod error;
mod files;
mod format;
mod id;
mod image;
mod open;
pub(crate) mod pages;
pub mod state;
pub(crate) mod touched;

pub use error::SnapshotError;
pub use files::{FORMAT_VERSION, MEMORY_FILE, STATE_FILE, files};
pub use id::SnapshotId;
pub use open::Snapshot;

pub(crate) use image::MemoryImage;

pub(crate) use format::{read_payload as read_state, write as write_state};
