//! One snapshot's memory as machines see it: its own layer over those of its parents.
//!
//! Enters: open files and their indexes. Leaves: mappings. This is where guest memory is mapped from files, and
//! the reason why they must not change: a page that is not yet copied is the file's.

use std::collections::BTreeSet;
use std::fs::File;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use provium_devices::GuestRam;
use rustix::mm::{MapFlags, ProtFlags, mmap, mmap_anonymous, munmap};
use vm_memory::{GuestMemoryBackend, GuestMemoryRegion};

use super::index::PAGE;
use super::state::MachineState;
use super::{MEMORY_FILE, PageIndex, SnapshotError, io_error, layer};

/// See the module.
pub(crate) struct Image {
    folder: PathBuf,
    path: PathBuf,
    file: File,
    /// Bytes.
    memory: u64,
    index: PageIndex,
    parent: Option<Arc<Image>>,
}

impl Image {
    /// Opens the memory file that belongs to `state`.
    pub(super) fn open(
        folder: &Path,
        state: &MachineState,
        parent: Option<Arc<Image>>,
    ) -> Result<Image, SnapshotError> {
        let path = folder.join(MEMORY_FILE);
        let file = File::open(&path).map_err(io_error(&path))?;
        let len = file.metadata().map_err(io_error(&path))?.len();
        if len != state.shape.memory {
            return Err(SnapshotError::Damaged {
                folder: folder.to_owned(),
                what: format!(
                    "its file `{MEMORY_FILE}` has {len} bytes and should have {}",
                    state.shape.memory
                ),
            });
        }
        Ok(Image {
            folder: folder.to_owned(),
            path,
            file,
            memory: state.shape.memory,
            index: state.memory.index.clone(),
            parent,
        })
    }

    pub(super) fn verify(&self) -> Result<(), SnapshotError> {
        layer::verify(&self.path, &self.file, self.memory, &self.index, self.parent.is_none())?;
        self.parent.as_ref().map_or(Ok(()), |parent| parent.verify())
    }

    /// The numbers of all pages that any layer holds.
    pub(crate) fn pages_of_all_layers(&self) -> BTreeSet<u64> {
        let mut pages = self.parent.as_ref().map(|parent| parent.pages_of_all_layers()).unwrap_or_default();
        pages.extend(self.index.runs.iter().flat_map(|(first, count)| *first..first + count));
        pages
    }

    pub(super) fn parents(&self) -> Vec<PathBuf> {
        let below = std::iter::successors(self.parent.as_ref(), |image| image.parent.as_ref());
        below.map(|image| image.folder.clone()).collect()
    }

    /// Puts this memory in the place of what `ram` holds, copy-on-write: nothing is read or copied.
    pub(crate) fn map_onto(&self, ram: &GuestRam) -> Result<(), SnapshotError> {
        let mut at = 0;
        for region in ram.iter() {
            // SAFETY: the range is the region's own mapping, of which no reference is alive: the machine is paused,
            // and all other access goes through volatile copies.
            unsafe { self.map_at(region.as_ptr(), at, region.len(), ProtFlags::READ | ProtFlags::WRITE)? };
            at += region.len();
        }
        Ok(())
    }

    /// A mapping to read the memory as it was saved.
    pub(super) fn map_pages(&self) -> Result<Pages, SnapshotError> {
        let len = self.memory as usize;
        // SAFETY: a new mapping at an address of the kernel's choice touches no memory in use.
        let base = unsafe { mmap_anonymous(std::ptr::null_mut(), len, ProtFlags::READ, MapFlags::PRIVATE | MapFlags::NORESERVE) };
        let base = base.map_err(|errno| io_error(&self.path)(errno.into()))?;
        let pages = Pages {
            base: base.cast(),
            len,
        };
        // SAFETY: the range is the mapping just made, which nobody has seen yet.
        unsafe { self.map_at(pages.base, 0, self.memory, ProtFlags::READ)? };
        Ok(pages)
    }

    /// Maps the bytes from `at` on, `len` of them, at `address`.
    ///
    /// # Safety
    /// The range at `address` has to be mapped, by somebody who unmaps it later and has no reference into it.
    unsafe fn map_at(&self, address: *mut u8, at: u64, len: u64, access: ProtFlags) -> Result<(), SnapshotError> {
        let flags = MapFlags::PRIVATE | MapFlags::NORESERVE | MapFlags::FIXED;
        let map = |from: u64, to: u64| {
            let len = (to - from) as usize;
            // SAFETY: within the caller's range, which is `at..at + len` of this file.
            let mapped = unsafe {
                let target = address.add((from - at) as usize);
                mmap(target.cast(), len, access, flags, self.file.as_fd(), from)
            };
            mapped.map(drop).map_err(|errno| io_error(&self.path)(errno.into()))
        };
        let Some(parent) = &self.parent else {
            return map(at, at + len);
        };
        // SAFETY: the same range.
        unsafe { parent.map_at(address, at, len, access)? };
        for &(first, count) in &self.index.runs {
            let from = (first * PAGE).max(at);
            let to = ((first + count) * PAGE).min(at + len);
            if from < to {
                map(from, to)?;
            }
        }
        Ok(())
    }
}

/// The memory as it was saved, mapped to be read.
pub(crate) struct Pages {
    base: *mut u8,
    len: usize,
}

// SAFETY: the mapping is read-only and lives as long as this value; reading it from several threads is fine.
unsafe impl Send for Pages {}
// SAFETY: as above.
unsafe impl Sync for Pages {}

impl Pages {
    /// The content of `page`.
    pub(crate) fn page(&self, page: u64) -> &[u8] {
        let from = (page * PAGE) as usize;
        assert!(from + PAGE as usize <= self.len, "page {page} is beyond the memory");
        // SAFETY: within the mapping, as just checked, and mapped from files that do not change.
        unsafe { std::slice::from_raw_parts(self.base.add(from), PAGE as usize) }
    }
}

impl Drop for Pages {
    fn drop(&mut self) {
        // SAFETY: exactly the range that was mapped, and every borrow of it has ended.
        let _ = unsafe { munmap(self.base.cast(), self.len) };
    }
}
