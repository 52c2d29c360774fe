//! One snapshot's memory as machines see it: its own layer over those of its parents.
//!
//! Input: open files and their indexes. Output: mappings. Not here: which pages a machine has changed
//! (`dirty`).
//!
//! This is where guest memory is mapped from files, and the reason why those must not change: a page that is
//! not yet copied is the file's.

use std::collections::BTreeSet;
use std::fs::File;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use provium_devices::GuestRam;
use rustix::mm::{MapFlags, ProtFlags, mmap, mmap_anonymous, munmap};
use vm_memory::{GuestMemoryBackend, GuestMemoryRegion};

use super::error::SnapshotError;
use super::files::MEMORY_FILE;
use super::state::MachineState;
use crate::layer::{self, PAGE, PageIndex, io_error};

/// The memory file of a snapshot, on those of its parents.
pub(crate) struct MemoryImage {
    folder: PathBuf,
    path: PathBuf,
    file: File,
    /// Bytes of the guest's memory.
    memory: u64,
    index: PageIndex,
    parent: Option<Arc<MemoryImage>>,
}

impl MemoryImage {
    /// Opens the memory file that belongs to `state`.
    pub(super) fn open(
        folder: &Path,
        state: &MachineState,
        parent: Option<Arc<MemoryImage>>,
    ) -> Result<MemoryImage, SnapshotError> {
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
        Ok(MemoryImage {
            folder: folder.to_owned(),
            path,
            file,
            memory: state.shape.memory,
            index: state.memory.index.clone(),
            parent,
        })
    }

    /// Reads the file and its parents' and compares them with their checksums.
    pub(super) fn verify(&self) -> Result<(), SnapshotError> {
        layer::verify(
            &self.path,
            &self.file,
            self.memory,
            &self.index,
            self.parent.is_none(),
        )?;
        self.parent.as_ref().map_or(Ok(()), |parent| parent.verify())
    }

    /// The numbers of all pages that its layer or a parent's holds.
    pub(crate) fn pages_of_all_layers(&self) -> BTreeSet<u64> {
        let mut pages = self
            .parent
            .as_ref()
            .map(|parent| parent.pages_of_all_layers())
            .unwrap_or_default();
        pages.extend(
            self.index
                .runs
                .iter()
                .flat_map(|(first, count)| *first..first + count),
        );
        pages
    }

    /// The folders of its parents, the nearest first.
    pub(super) fn parents(&self) -> Vec<PathBuf> {
        let below = std::iter::successors(self.parent.as_ref(), |image| image.parent.as_ref());
        below.map(|image| image.folder.clone()).collect()
    }

    /// Maps this memory over `ram`, copy-on-write: nothing is read or copied.
    pub(crate) fn map_onto(&self, ram: &GuestRam) -> Result<(), SnapshotError> {
        let mut at = 0;
        for region in ram.iter() {
            // SAFETY: the range is the region's own mapping, of which no reference is alive: the machine is
            // paused, and all other access goes through volatile copies.
            unsafe {
                self.map_at(
                    region.as_ptr(),
                    at,
                    region.len(),
                    ProtFlags::READ | ProtFlags::WRITE,
                )?
            };
            at += region.len();
        }
        Ok(())
    }

    /// Maps the memory as it was saved, to be read.
    pub(super) fn map_pages(&self) -> Result<SavedPages, SnapshotError> {
        let len = self.memory as usize;
        // SAFETY: a new mapping at an address of the kernel's choice touches no memory in use.
        let base = unsafe {
            mmap_anonymous(
                std::ptr::null_mut(),
                len,
                ProtFlags::READ,
                MapFlags::PRIVATE | MapFlags::NORESERVE,
            )
        };
        let base = base.map_err(|errno| io_error(&self.path)(errno.into()))?;
        let pages = SavedPages {
            base: base.cast(),
            len,
        };
        // SAFETY: the range is the mapping just made, which nobody has seen yet.
        unsafe { self.map_at(pages.base, 0, self.memory, ProtFlags::READ)? };
        Ok(pages)
    }

    /// Maps the bytes `at..at + len` at `address`.
    ///
    /// # Safety
    /// The range at `address` has to be mapped, by somebody who unmaps it later and has no reference into it.
    unsafe fn map_at(
        &self,
        address: *mut u8,
        at: u64,
        len: u64,
        access: ProtFlags,
    ) -> Result<(), SnapshotError> {
        let flags = MapFlags::PRIVATE | MapFlags::NORESERVE | MapFlags::FIXED;
        let map = |from: u64, to: u64| {
            let len = (to - from) as usize;
            // SAFETY: within the caller's range, which is `at..at + len` of this file.
            let mapped = unsafe {
                let target = address.add((from - at) as usize);
                mmap(target.cast(), len, access, flags, self.file.as_fd(), from)
            };
            match mapped {
                Ok(_) => Ok(()),
                Err(errno) => Err(io_error(&self.path)(errno.into()).into()),
            }
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
pub(crate) struct SavedPages {
    base: *mut u8,
    len: usize,
}

// SAFETY: the mapping is read-only and lives as long as this value; reading it from several threads is fine.
unsafe impl Send for SavedPages {}
// SAFETY: as above.
unsafe impl Sync for SavedPages {}

impl SavedPages {
    /// The content of `page`.
    pub(crate) fn page(&self, page: u64) -> &[u8] {
        let from = (page * PAGE) as usize;
        assert!(
            from + PAGE as usize <= self.len,
            "page {page} is beyond the memory"
        );
        // SAFETY: within the mapping, as just checked, and mapped from files that do not change.
        unsafe { std::slice::from_raw_parts(self.base.add(from), PAGE as usize) }
    }
}

impl Drop for SavedPages {
    fn drop(&mut self) {
        // SAFETY: exactly the range that was mapped, and every borrow of it has ended.
        let _ = unsafe { munmap(self.base.cast(), self.len) };
    }
}

#[cfg(test)]
mod tests {
    use vm_memory::{Bytes, GuestAddress};

    use super::super::state::tests::sample;
    use super::*;
    use crate::layer::LayerWriter;

    /// Pages of the machine here: 80 below the hole, 48 above it.
    const PAGES: u64 = 128;
    const LOW: u64 = 80;

    /// Content by page number; what is absent was never written.
    type Content = [(u64, u8)];

    fn layer(folder: &Path, pages: &Content, parent: Option<&Arc<MemoryImage>>) -> Arc<MemoryImage> {
        std::fs::create_dir(folder).unwrap();
        let mut writer = LayerWriter::create(folder, MEMORY_FILE, PAGES * PAGE).unwrap();
        for (page, byte) in pages {
            writer.push(*page, &[*byte; PAGE as usize]).unwrap();
        }
        let mut state = sample();
        state.shape.memory = PAGES * PAGE;
        state.memory.index = writer.finish().unwrap();
        Arc::new(MemoryImage::open(folder, &state, parent.cloned()).unwrap())
    }

    /// What every page should hold, the last layer on top.
    fn stacked(layers: &[&Content]) -> Vec<u8> {
        let mut pages = vec![0; PAGES as usize];
        for (page, byte) in layers.iter().flat_map(|layer| layer.iter()) {
            pages[*page as usize] = *byte;
        }
        pages
    }

    fn seen_by_a_guest(image: &MemoryImage) -> (GuestRam, Vec<u8>) {
        let low = LOW * PAGE;
        let ranges = [
            (GuestAddress(0), low as usize),
            (GuestAddress(4 << 30), (PAGES * PAGE - low) as usize),
        ];
        let ram = GuestRam::from_ranges(&ranges).unwrap();
        ram.write_slice(&vec![0xee; low as usize], GuestAddress(0))
            .unwrap();
        image.map_onto(&ram).unwrap();
        let pages = guest_pages(&ram);
        (ram, pages)
    }

    fn guest_pages(ram: &GuestRam) -> Vec<u8> {
        let page = |page: u64| {
            let at = if page < LOW {
                page * PAGE
            } else {
                (4 << 30) + (page - LOW) * PAGE
            };
            let mut content = [0xdd; PAGE as usize];
            ram.read_slice(&mut content, GuestAddress(at)).unwrap();
            uniform(&content)
        };
        (0..PAGES).map(page).collect()
    }

    fn uniform(content: &[u8]) -> u8 {
        assert!(content.iter().all(|byte| *byte == content[0]), "half a page");
        content[0]
    }

    fn seen_by_a_reader(image: &MemoryImage) -> Vec<u8> {
        let pages = image.map_pages().unwrap();
        (0..PAGES).map(|page| uniform(pages.page(page))).collect()
    }

    #[test]
    fn each_layer_covers_those_below_it_page_by_page() {
        let folder = tempfile::tempdir().unwrap();
        // A run over the hole; then zeros over what was not zero, a page of each layer's own, the ends.
        let base: &Content = &[
            (0, 1),
            (1, 2),
            (2, 3),
            (10, 4),
            (78, 5),
            (79, 6),
            (80, 7),
            (81, 8),
            (127, 9),
        ];
        let child: &Content = &[(1, 0), (2, 11), (20, 12), (79, 0), (80, 13), (127, 14)];
        let grandchild: &Content = &[(0, 21), (2, 0), (20, 0), (30, 22), (80, 23), (126, 24)];
        let base_image = layer(&folder.path().join("base"), base, None);
        let child_image = layer(&folder.path().join("child"), child, Some(&base_image));
        let grandchild_image = layer(&folder.path().join("grandchild"), grandchild, Some(&child_image));
        let cases = [
            (&base_image, stacked(&[base])),
            (&child_image, stacked(&[base, child])),
            (&grandchild_image, stacked(&[base, child, grandchild])),
        ];
        for (image, expected) in cases {
            image.verify().unwrap();
            assert_eq!(seen_by_a_reader(image), expected);
            assert_eq!(seen_by_a_guest(image).1, expected);
            let named = image.pages_of_all_layers();
            let missing = (0..PAGES).filter(|page| expected[*page as usize] != 0 && !named.contains(page));
            assert_eq!(missing.count(), 0, "a page that is not zero and in no layer");
        }
        let parents = grandchild_image.parents();
        assert_eq!(parents, ["child", "base"].map(|name| folder.path().join(name)));
    }

    #[test]
    fn what_a_guest_writes_stays_its_own() {
        let folder = tempfile::tempdir().unwrap();
        let base: &Content = &[(0, 1), (80, 2)];
        let child: &Content = &[(1, 3), (81, 4)];
        let base_image = layer(&folder.path().join("base"), base, None);
        let image = layer(&folder.path().join("child"), child, Some(&base_image));
        let expected = stacked(&[base, child]);
        let (one, _) = seen_by_a_guest(&image);
        let (other, _) = seen_by_a_guest(&image);
        for page in 0..LOW {
            one.write_slice(&[0x77; PAGE as usize], GuestAddress(page * PAGE))
                .unwrap();
        }
        assert_eq!(guest_pages(&other), expected);
        assert_eq!(seen_by_a_reader(&image), expected);
        image.verify().unwrap();
        image.map_onto(&one).unwrap();
        assert_eq!(guest_pages(&one), expected, "mapped again, it is as it was");
    }

    #[test]
    fn a_memory_file_of_another_size_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let image = layer(&folder.path().join("base"), &[(0, 1)], None);
        let mut state = sample();
        state.shape.memory = PAGES * PAGE;
        for len in [0, PAGES * PAGE - 1, PAGES * PAGE + 1] {
            File::options()
                .write(true)
                .open(&image.path)
                .unwrap()
                .set_len(len)
                .unwrap();
            let error = MemoryImage::open(&image.folder, &state, None)
                .err()
                .unwrap()
                .to_string();
            assert!(
                error.contains(&format!("has {len} bytes and should have")),
                "{error}"
            );
            assert!(image.verify().is_err());
        }
        std::fs::remove_file(&image.path).unwrap();
        assert!(MemoryImage::open(&image.folder, &state, None).is_err());
    }
}
