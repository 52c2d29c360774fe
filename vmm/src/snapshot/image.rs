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
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use provium_devices::GuestRam;
use rustix::mm::{
    Advice, MapFlags, MprotectFlags, ProtFlags, madvise, mmap, mmap_anonymous, mprotect, munmap,
};
use vm_memory::{GuestMemoryBackend, GuestMemoryRegion};

use super::error::SnapshotError;
use super::files::MEMORY_FILE;
use super::id::SnapshotId;
use super::pages::locate;
use super::state::MachineState;
use crate::layer::{self, PAGE, PageIndex, io_error};
use crate::lost_pages::WatchedRange;

/// The memory file of a snapshot, on those of its parents.
pub(crate) struct MemoryImage {
    folder: PathBuf,
    id: SnapshotId,
    path: PathBuf,
    file: File,
    /// Bytes of the guest's memory.
    memory: u64,
    index: PageIndex,
    parent: Option<Arc<MemoryImage>>,
    /// Where each page is that is not the lowest layer's, in order.
    upper: Vec<UpperRun>,
}

/// Pages that a layer above the lowest has, and none above that.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct UpperRun {
    first: u64,
    count: u64,
    /// Number of layers below the one they are in.
    layer: usize,
}

/// Most pages of upper layers that are read into a machine's memory. Each run of them would be a mapping of
/// its own, which costs more than the copies, and they are what the guest wrote last and touches next; but a
/// copy is memory of that machine alone.
const MOST_READ: u64 = 1000;

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
            id: state.id,
            path,
            file,
            memory: state.shape.memory,
            index: state.memory.index.clone(),
            upper: parent.as_ref().map_or_else(Vec::new, |parent| {
                let layer = parent.stack().count();
                covered(&parent.upper, &state.memory.index.runs, layer)
            }),
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
        pages.extend(self.index.numbers());
        pages
    }

    /// The folders of its parents, the nearest first.
    pub(super) fn parents(&self) -> Vec<PathBuf> {
        self.stack().skip(1).map(|image| image.folder.clone()).collect()
    }

    /// It and its parents, the nearest first.
    fn stack(&self) -> impl Iterator<Item = &MemoryImage> {
        std::iter::successors(Some(self), |image| image.parent.as_deref())
    }

    /// The numbers of all pages in which it may differ from `other`, those in the layers above the snapshot
    /// that both lie on; `None` if there is no such snapshot.
    pub(crate) fn pages_between(&self, other: &MemoryImage) -> Option<BTreeSet<u64>> {
        let common = self
            .stack()
            .find(|image| other.stack().any(|its| its.id == image.id))?;
        let above = |image: &&MemoryImage| image.id != common.id;
        let layers = self
            .stack()
            .take_while(above)
            .chain(other.stack().take_while(above));
        Some(layers.flat_map(|layer| layer.index.numbers()).collect())
    }

    /// Maps this memory over `ram`, copy-on-write: nothing is read or copied, but for small layers on top of
    /// others.
    pub(crate) fn map_onto(&self, ram: &GuestRam) -> Result<(), SnapshotError> {
        let mut at = 0;
        for region in ram.iter() {
            // SAFETY: the range is the region's own mapping, of which no reference is alive: the machine is
            // paused, and all other access goes through volatile copies.
            unsafe { self.map_at(region.as_ptr(), at, region.len())? };
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
        let mut pages = SavedPages {
            base: base.cast(),
            len,
            watched: None,
        };
        // SAFETY: the range is the mapping just made, which nobody has seen yet.
        let protected = unsafe {
            self.map_at(pages.base, 0, self.memory)?;
            mprotect(pages.base.cast(), len, MprotectFlags::READ)
        };
        protected.map_err(|errno| io_error(&self.path)(errno.into()))?;
        let watched = WatchedRange::new(pages.base, len, None).map_err(io_error(&self.path))?;
        pages.watched = Some(watched);
        Ok(pages)
    }

    /// Why a page of its files, or its parents', cannot be had.
    pub(crate) fn loss(&self) -> SnapshotError {
        self.cut_short().unwrap_or_else(|| {
            self.damaged_in_use(format!(
                "its file `{MEMORY_FILE}` could not be read, or its file system is full"
            ))
        })
    }

    /// The same, if one of the files is shorter than it was; `None` where none is.
    pub(crate) fn cut_short(&self) -> Option<SnapshotError> {
        self.stack().find_map(|image| {
            let len = image.file.metadata().map_or(0, |found| found.len());
            let whole = image.memory;
            let cut = || format!("its file `{MEMORY_FILE}` was cut from {whole} to {len} bytes");
            (len < whole).then(|| image.damaged_in_use(cut()))
        })
    }

    fn damaged_in_use(&self, what: String) -> SnapshotError {
        SnapshotError::Damaged {
            folder: self.folder.clone(),
            what: format!("while a machine used it, {what}"),
        }
    }

    /// Maps the bytes `at..at + len` at `address`, to be read and written.
    ///
    /// # Safety
    /// The range at `address` has to be mapped, by somebody who unmaps it later and has no reference into it.
    unsafe fn map_at(&self, address: *mut u8, at: u64, len: u64) -> Result<(), SnapshotError> {
        let layers: Vec<&MemoryImage> = self.stack().collect();
        let layer = |below: usize| layers[layers.len() - 1 - below];
        // SAFETY: the caller's range.
        unsafe { layer(0).map_own(address, at, at + len)? };
        let pages: u64 = self.upper.iter().map(|run| run.count).sum();
        for run in &self.upper {
            let from = (run.first * PAGE).max(at);
            let to = ((run.first + run.count) * PAGE).min(at + len);
            if from >= to {
                continue;
            }
            let image = layer(run.layer);
            // SAFETY: within the caller's range, which is `at..at + len` of each file, and has just been
            // mapped to be written.
            unsafe {
                let target = address.add((from - at) as usize);
                if pages > MOST_READ {
                    image.map_own(target, from, to)?;
                } else {
                    let bytes = std::slice::from_raw_parts_mut(target, (to - from) as usize);
                    image
                        .file
                        .read_exact_at(bytes, from)
                        .map_err(io_error(&image.path))?;
                }
            }
        }
        Ok(())
    }

    /// Maps the bytes `from..to` of its own file at `target`.
    ///
    /// # Safety
    /// As [`map_at`](Self::map_at).
    unsafe fn map_own(&self, target: *mut u8, from: u64, to: u64) -> Result<(), SnapshotError> {
        let flags = MapFlags::PRIVATE | MapFlags::NORESERVE | MapFlags::FIXED;
        let access = ProtFlags::READ | ProtFlags::WRITE;
        let len = (to - from) as usize;
        // SAFETY: the caller's range.
        let mapped = unsafe { mmap(target.cast(), len, access, flags, self.file.as_fd(), from) };
        match mapped {
            Ok(_) => Ok(()),
            Err(errno) => Err(io_error(&self.path)(errno.into()).into()),
        }
    }
}

/// The runs of `below` with those of a layer on top of them, where both have a page that layer's.
fn covered(below: &[UpperRun], top: &[(u64, u64)], layer: usize) -> Vec<UpperRun> {
    let mut all: Vec<UpperRun> = top
        .iter()
        .map(|&(first, count)| UpperRun { first, count, layer })
        .collect();
    let mut tops = top.iter().peekable();
    for run in below {
        let (mut first, end) = (run.first, run.first + run.count);
        while tops.next_if(|(start, count)| start + count <= first).is_some() {}
        for (start, count) in tops.clone().take_while(|(start, _)| *start < end) {
            if *start > first {
                all.push(UpperRun {
                    first,
                    count: start - first,
                    ..*run
                });
            }
            first = first.max(start + count);
        }
        if first < end {
            all.push(UpperRun {
                first,
                count: end - first,
                ..*run
            });
        }
    }
    all.sort_unstable_by_key(|run| run.first);
    all
}

/// Copies pages of a machine's memory that are still the file's, all at once, which are then as they were. A
/// kernel before 5.14 does not: the guest makes each copy when it writes the page.
pub(super) fn populate(ram: &GuestRam, first: u64, count: u64) {
    let Some((region, at)) = locate(ram, first) else {
        return;
    };
    // A run may cross the hole; what is behind it is left to the guest.
    let len = (count * PAGE).min(region.len() - at.0) as usize;
    // SAFETY: within the region's mapping, as just computed; no content changes.
    let populated = unsafe {
        let from = region.as_ptr().add(at.0 as usize);
        madvise(from.cast(), len, Advice::LinuxPopulateWrite)
    };
    if let Err(error) = populated {
        tracing::debug!(first, count, %error, "pages are left to the guest to copy");
    }
}

/// The memory as it was saved, mapped to be read.
pub(crate) struct SavedPages {
    /// Ends before the mapping does.
    watched: Option<WatchedRange>,
    base: *mut u8,
    len: usize,
}

// SAFETY: the mapping is read-only and lives as long as this value; reading it from several threads is fine.
unsafe impl Send for SavedPages {}
// SAFETY: as above.
unsafe impl Sync for SavedPages {}

impl SavedPages {
    /// Makes `page` of a paused machine's memory what it was, without a look at what it is.
    pub(crate) fn copy(&self, ram: &GuestRam, page: u64) {
        let saved = self.at(page);
        if let Some((region, at)) = locate(ram, page) {
            // SAFETY: a page within the region's mapping, which `locate` has found; the machine is paused and
            // its devices are detached, so that nobody else uses it, and the saved page is in another
            // mapping.
            unsafe {
                let target = region.as_ptr().add(at.0 as usize);
                std::ptr::copy_nonoverlapping(saved, target, PAGE as usize);
            }
        }
    }

    /// Makes `page` of a paused machine's memory what it was; whether it was anything else.
    pub(crate) fn put_back(&self, ram: &GuestRam, page: u64) -> bool {
        let saved = self.at(page);
        let differs = locate(ram, page).is_some_and(|(region, at)| {
            // SAFETY: two pages of two mappings, as in `copy`. They are compared in place, through pointers:
            // a reference would promise that no other process writes the file.
            unsafe {
                let present = region.as_ptr().add(at.0 as usize);
                libc::memcmp(present.cast(), saved.cast(), PAGE as usize) != 0
            }
        });
        if differs {
            self.copy(ram, page);
        }
        differs
    }

    /// Whether `page` holds other bytes than `content`, which is as long as a page.
    pub(crate) fn differs(&self, page: u64, content: &[u8; PAGE as usize]) -> bool {
        // SAFETY: a page of the mapping and an array as long; through a pointer, as in `put_back`.
        unsafe { libc::memcmp(self.at(page).cast(), content.as_ptr().cast(), PAGE as usize) != 0 }
    }

    /// Whether a page has been read that could not be had, and was zeros in its place.
    pub(crate) fn are_lost(&self) -> bool {
        self.watched.as_ref().is_some_and(WatchedRange::is_lost)
    }

    /// Address of `page`'s content, which another process may change.
    fn at(&self, page: u64) -> *const u8 {
        let from = (page * PAGE) as usize;
        assert!(
            from + PAGE as usize <= self.len,
            "page {page} is beyond the memory"
        );
        self.base.cast_const().wrapping_add(from)
    }
}

#[cfg(test)]
impl SavedPages {
    /// A copy of `page`'s content.
    pub(crate) fn page(&self, page: u64) -> Vec<u8> {
        // SAFETY: within the mapping, as `at` has checked.
        (0..PAGE as usize)
            .map(|byte| unsafe { self.at(page).add(byte).read_volatile() })
            .collect()
    }
}

impl Drop for SavedPages {
    fn drop(&mut self) {
        self.watched = None;
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
        let name = folder.file_name().unwrap().as_encoded_bytes();
        state.id = SnapshotId(0, name.iter().fold(0, |id, byte| id << 8 | u64::from(*byte)));
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
        (0..PAGES).map(|page| uniform(&pages.page(page))).collect()
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
    fn a_page_is_in_the_topmost_layer_that_has_it() {
        let run = |first, count, layer| UpperRun { first, count, layer };
        let below = [run(0, 4, 1), run(10, 10, 1), run(30, 1, 1), run(40, 2, 1)];
        let top = [(2, 2), (9, 2), (12, 1), (15, 6), (30, 1), (50, 1)];
        let expected = [
            run(0, 2, 1),
            run(2, 2, 2),
            run(9, 2, 2),
            run(11, 1, 1),
            run(12, 1, 2),
            run(13, 2, 1),
            run(15, 6, 2),
            run(30, 1, 2),
            run(40, 2, 1),
            run(50, 1, 2),
        ];
        assert_eq!(covered(&below, &top, 2), expected);
        assert_eq!(covered(&[], &top[..1], 1), [run(2, 2, 1)]);
        assert_eq!(covered(&below, &[], 2), below);
        assert_eq!(covered(&below, &[(0, 100)], 2), [run(0, 100, 2)]);
    }

    #[test]
    fn populated_pages_are_as_they_were() {
        let folder = tempfile::tempdir().unwrap();
        let base: &Content = &[(0, 1), (79, 2), (80, 3), (127, 4)];
        let image = layer(&folder.path().join("base"), base, None);
        let (ram, _) = seen_by_a_guest(&image);
        for (first, count) in [(0, 3), (78, 5), (127, 1), (126, 50), (200, 1)] {
            populate(&ram, first, count);
        }
        assert_eq!(guest_pages(&ram), stacked(&[base]));
    }

    #[test]
    fn layers_too_large_to_be_read_are_mapped() {
        let folder = tempfile::tempdir().unwrap();
        let pages = 3 * MOST_READ;
        let write = |name: &str, all: &[(u64, u8)], parent: Option<&Arc<MemoryImage>>| {
            let folder = folder.path().join(name);
            std::fs::create_dir(&folder).unwrap();
            let mut writer = LayerWriter::create(&folder, MEMORY_FILE, pages * PAGE).unwrap();
            let pushed = all
                .iter()
                .try_for_each(|(page, byte)| writer.push(*page, &[*byte; PAGE as usize]));
            pushed.unwrap();
            let mut state = sample();
            state.shape.memory = pages * PAGE;
            state.memory.index = writer.finish().unwrap();
            Arc::new(MemoryImage::open(&folder, &state, parent.cloned()).unwrap())
        };
        let base = write("base", &[(0, 1), (5, 2)], None);
        let large: Vec<(u64, u8)> = (0..pages).step_by(2).map(|page| (page, 3)).collect();
        let image = write("large", &large, Some(&base));
        let seen = image.map_pages().unwrap();
        let seen = |page| uniform(&seen.page(page));
        assert_eq!([0, 1, 2, 5, pages - 2, pages - 1].map(seen), [3, 0, 3, 2, 3, 0]);
        let ram = GuestRam::from_ranges(&[(GuestAddress(0), (pages * PAGE) as usize)]).unwrap();
        image.map_onto(&ram).unwrap();
        let first: u8 = ram.read_obj(GuestAddress(2 * PAGE)).unwrap();
        assert_eq!(first, 3);
    }

    #[test]
    fn images_of_one_tree_differ_in_the_layers_above_their_common_one() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let base = layer(&at("base"), &[(0, 1), (80, 2)], None);
        let left = layer(&at("left"), &[(1, 3), (81, 4)], Some(&base));
        let top = layer(&at("top"), &[(1, 5), (2, 6)], Some(&left));
        let right = layer(&at("right"), &[(9, 7)], Some(&base));
        let other = layer(&at("other"), &[(0, 1)], None);
        let between = |one: &MemoryImage, other: &MemoryImage| {
            let pages = one.pages_between(other);
            assert_eq!(pages, other.pages_between(one), "either way");
            pages.map(Vec::from_iter)
        };
        assert_eq!(between(&left, &left), Some(vec![]));
        assert_eq!(between(&base, &top), Some(vec![1, 2, 81]));
        assert_eq!(between(&top, &left), Some(vec![1, 2]));
        assert_eq!(between(&top, &right), Some(vec![1, 2, 9, 81]));
        assert_eq!(between(&top, &other), None);
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
        let pages = image.map_pages().unwrap();
        for page in (0..PAGES).step_by(2) {
            assert_eq!(
                pages.put_back(&one, page),
                page < LOW,
                "only what was written differs"
            );
            assert!(!pages.put_back(&one, page));
        }
        (1..PAGES).step_by(2).for_each(|page| pages.copy(&one, page));
        assert_eq!(guest_pages(&one), expected, "put back, it is as it was");
        one.write_slice(&[0x77], GuestAddress(0)).unwrap();
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
