//! Layers: sparse files of pages, each with an index, of which a snapshot's memory and its disks are made.
//!
//! Input: pages with their numbers, or a file and its index. Output: the file and its index, or whether the
//! file still holds what was written. Not here: what lies below a layer, and what its pages belong to: memory
//! (`snapshot`) or a disk (`disk`), whose blocks are as large as a page.
//!
//! ```text
//! index    which pages a file holds, and their checksum
//! file     writes such a file, and compares it with its index
//! error    what goes wrong with files
//! ```

mod error;
mod file;
mod index;

pub(crate) use error::LayerError;
pub(crate) use index::PageIndex;

pub(crate) use error::io_error;
pub(crate) use file::{LayerWriter, is_zero, verify};
pub(crate) use index::PAGE;
