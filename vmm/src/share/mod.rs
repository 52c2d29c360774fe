//! Folders of the host that a guest sees as a file system: the server behind a virtio-fs device.
//!
//! ```text
//! folder   one shared folder: which paths may be opened in it, and how
//! nodes    what the guest's numbers stand for
//! stat     what the host says of a file
//! wire     the numbers and structures of FUSE
//! server   requests and answers; those that only look are in it
//! files    files' content
//! listing  folders' content
//! change   requests that change something
//! ```
//!
//! Input: requests of FUSE 7.31 out of a guest that may want anything. Output: answers, and what they do
//! below the shared folders. Not here: the queue (`provium_devices::virtio::fs`), where a guest has a share
//! mounted.
//!
//! **One device for all.** Its root has a folder `0`, `1`, … for each shared folder. So machines have one
//! slot for any number of them.
//!
//! **A node is a name.** The server holds no descriptor for what the guest knows, but the folder it was found
//! in and its name there. Each request opens the path anew, from the shared folder on, with `openat2` and
//! RESOLVE_BENEATH, without following links, and looks whether the same file is still there: if not, the
//! answer is ESTALE. That is what makes a saved state plain data, what bounds descriptors, and what leaves
//! nothing to race for: between two requests nothing is held, and within one the kernel walks.
//!
//! **Nothing is opened for the guest** (the answer to OPEN is ENOSYS, once): reading a file costs a look and
//! a read, and there are no handles to save. A file that the guest itself removes while it has it open lives
//! on in `orphans` until the guest lets go of it, or is resumed or reset.

mod change;
mod files;
mod folder;
mod listing;
mod nodes;
mod server;
mod stat;
#[cfg(test)]
mod tests;
mod wire;

pub use folder::SharedFolder;
pub use server::{ShareError, ShareServer};
