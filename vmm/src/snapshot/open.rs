//! [`Snapshot`]: the files of a snapshot, opened and checked.
//!
//! Input: a folder. Output: the saved state, memory that can be mapped, disks that can be made. Not here:
//! writing a snapshot (`machine/save.rs`).

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use parking_lot::Mutex;
use provium_devices::GuestRam;

use super::error::SnapshotError;
use super::format;
use super::id::SnapshotId;
use super::image::{MemoryImage, SavedPages};
use super::state::MachineState;
use super::{image, touched};
use crate::disk::saved::SavedDisk;
use crate::disk::{Disk, ImageDigest};
use crate::layer::{LayerError, PAGE, io_error};

/// A snapshot that has been opened: its state is checked, its memory can be mapped.
pub struct Snapshot {
    folder: PathBuf,
    state: MachineState,
    image: Arc<MemoryImage>,
    pages: OnceLock<SavedPages>,
    disks: Vec<SavedDisk>,
    /// Runs of pages that guests write first, as far as that is known.
    touched: Mutex<Vec<(u64, u64)>>,
}

impl std::fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Snapshot")
            .field("folder", &self.folder)
            .field("id", &self.state.id)
            .finish_non_exhaustive()
    }
}

impl Snapshot {
    /// Opens the snapshot in `folder`, and its parents.
    ///
    /// # Errors
    /// [`SnapshotError`]: a file is missing, damaged, of another version, or from another host.
    pub fn open(folder: &Path) -> Result<Arc<Snapshot>, SnapshotError> {
        Self::open_below(folder, 0)
    }

    fn open_below(folder: &Path, depth: usize) -> Result<Arc<Snapshot>, SnapshotError> {
        let parent_error = |why: String| SnapshotError::Parent {
            folder: folder.to_owned(),
            why,
        };
        if depth > MAX_DEPTH {
            return Err(parent_error(format!(
                "more than {MAX_DEPTH} snapshots are stacked"
            )));
        }
        let state = format::read(folder)?;
        state.check(folder)?;
        let parent = match &state.memory.parent {
            None => None,
            Some(wanted) => {
                let parent = Self::open_below(&wanted.folder, depth + 1)
                    .map_err(|error| parent_error(error.to_string()))?;
                if parent.state.id != wanted.id || parent.memory() != state.shape.memory {
                    let why = format!("{} has been replaced", wanted.folder.display());
                    return Err(parent_error(why));
                }
                Some(Arc::clone(&parent.image))
            }
        };
        Self::assemble(folder, state, parent)
    }

    /// Reads all files of memory and disks, the parents' too, and compares them with the checksums.
    ///
    /// # Errors
    /// [`SnapshotError::Damaged`] when a byte is not what was written.
    pub fn verify(&self) -> Result<(), SnapshotError> {
        self.image.verify()?;
        Ok(self.disks.iter().try_for_each(SavedDisk::verify)?)
    }

    /// Compares the images below its disks with what they were. An image that was touched since is good if
    /// `digest` gives the digest of the content it had; without this call, one that was touched is refused.
    ///
    /// # Errors
    /// [`SnapshotError::DiskImage`] for the first image that has changed.
    pub fn confirm_images(
        &self,
        digest: &dyn Fn(&Path) -> io::Result<ImageDigest>,
    ) -> Result<(), SnapshotError> {
        Ok(self.disks.iter().try_for_each(|disk| disk.confirm(digest))?)
    }

    /// New disks with the content of its disks, each with its slot.
    pub(crate) fn disks(&self) -> Result<Vec<(u8, Arc<Disk>)>, SnapshotError> {
        let disks = self.disks.iter();
        disks.map(|saved| Ok((saved.state.slot, saved.disk()?))).collect()
    }

    /// The folder of its files.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The id of its content.
    pub fn id(&self) -> SnapshotId {
        self.state.id
    }

    /// Bytes of the guest's memory.
    pub fn memory(&self) -> u64 {
        self.state.shape.memory
    }

    /// Number of vCPUs.
    pub fn cpus(&self) -> u8 {
        self.state.shape.cpus
    }

    /// The bytes that whoever saved it gave along, see `SaveOptions::note`.
    pub fn note(&self) -> &[u8] {
        &self.state.note
    }

    /// Nanoseconds since 1970 by the host's clock when it was saved.
    pub fn saved_at_ns(&self) -> u64 {
        self.state.saved_at_ns
    }

    /// Number of pages in its own layer.
    pub fn own_pages(&self) -> u64 {
        self.state.memory.index.pages()
    }

    /// First page and number of pages of the first run in its own layer; `(0, 0)` when it has none.
    pub fn first_run(&self) -> (u64, u64) {
        self.state.memory.index.runs.first().copied().unwrap_or_default()
    }

    /// The folders of its parents, the nearest first.
    pub fn parents(&self) -> Vec<PathBuf> {
        self.image.parents()
    }

    /// Whether another snapshot may have this one as its parent: a stack has an end.
    pub(crate) fn can_be_parent(&self) -> bool {
        self.parents().len() < MAX_DEPTH
    }

    /// Maps its memory over that of a machine, copy-on-write, and copies the pages that guests write first.
    pub(crate) fn map_onto(&self, ram: &GuestRam) -> Result<(), SnapshotError> {
        self.image.map_onto(ram)?;
        for (first, count) in self.touched.lock().iter() {
            image::populate(ram, *first, *count);
        }
        Ok(())
    }

    /// Notes, beside its files and for guests of this opened snapshot too, which pages its guests write
    /// first.
    pub(crate) fn note_touched(&self, pages: impl Iterator<Item = u64>) -> Result<(), SnapshotError> {
        let written = touched::write(&self.folder, self.state.id, pages);
        written.map_err(io_error(&self.folder))?;
        *self.touched.lock() = touched::read(&self.folder, self.state.id, self.memory() / PAGE);
        Ok(())
    }

    /// Whether a machine that was equal to one of the two can be put into the state of the other in place:
    /// they lie on a common snapshot and do not differ in much.
    pub fn is_near(&self, other: &Snapshot) -> bool {
        self.pages_between(other).is_some()
    }

    /// The numbers of all pages in which it may differ from a snapshot that [is near](Self::is_near).
    pub(crate) fn pages_between(&self, other: &Snapshot) -> Option<BTreeSet<u64>> {
        let pages = self.image.pages_between(&other.image)?;
        (pages.len() <= MOST_BETWEEN).then_some(pages)
    }

    pub(crate) fn state(&self) -> &MachineState {
        &self.state
    }

    pub(crate) fn image(&self) -> &Arc<MemoryImage> {
        &self.image
    }

    /// The memory as it was saved, to read from; mapped at the first use.
    pub(crate) fn pages(&self) -> Result<&SavedPages, SnapshotError> {
        if let Some(pages) = self.pages.get() {
            return Ok(pages);
        }
        let pages = self.image.map_pages()?;
        Ok(self.pages.get_or_init(|| pages))
    }

    /// Opens the memory and the disks of a state that is known to be good: checked, or just written.
    pub(crate) fn assemble(
        folder: &Path,
        state: MachineState,
        parent: Option<Arc<MemoryImage>>,
    ) -> Result<Arc<Snapshot>, SnapshotError> {
        let image = MemoryImage::open(folder, &state, parent)?;
        let touched = Mutex::new(touched::read(folder, state.id, state.shape.memory / PAGE));
        let disks = state.disks.iter().map(|disk| SavedDisk::open(folder, disk));
        let disks = disks.collect::<Result<_, LayerError>>()?;
        Ok(Arc::new(Snapshot {
            folder: folder.to_owned(),
            state,
            image: Arc::new(image),
            pages: OnceLock::new(),
            disks,
            touched,
        }))
    }
}

/// Most pages that are copied to get from one snapshot to another; for more it is quicker to map.
const MOST_BETWEEN: usize = 4096;

/// Most parents of a snapshot, theirs included.
const MAX_DEPTH: usize = 32;

#[cfg(test)]
mod tests {
    use super::super::files::{MEMORY_FILE, STATE_FILE};
    use super::super::id::SnapshotId;
    use super::super::state::Parent;
    use super::super::state::tests::sample;
    use super::*;
    use crate::layer::{LayerWriter, PAGE};

    /// A snapshot of one page, on `parent` if there is one.
    fn write(folder: &Path, name: u64, parent: Option<(&Path, u64)>) -> Result<Arc<Snapshot>, SnapshotError> {
        std::fs::create_dir_all(folder).unwrap();
        let _ = std::fs::remove_file(folder.join(MEMORY_FILE));
        let mut state = sample();
        state.disks.clear();
        let mut writer = LayerWriter::create(folder, MEMORY_FILE, state.shape.memory)?;
        writer.push(name, &[name as u8; PAGE as usize])?;
        state.id = SnapshotId(0, name);
        state.memory.index = writer.finish()?;
        state.memory.parent = parent.map(|(folder, name)| Parent {
            folder: folder.to_owned(),
            id: SnapshotId(0, name),
        });
        format::write(folder, &state)?;
        Snapshot::open(folder)
    }

    #[test]
    fn a_stack_is_opened_and_verified_down_to_its_base() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        write(&at("1"), 1, None).unwrap();
        write(&at("2"), 2, Some((&at("1"), 1))).unwrap();
        let top = write(&at("3"), 3, Some((&at("2"), 2))).unwrap();
        assert_eq!(top.parents(), [at("2"), at("1")]);
        assert_eq!((top.own_pages(), top.id()), (1, SnapshotId(0, 3)));
        let pages = top.pages().unwrap();
        let seen = [0, 1, 2, 3, 4].map(|page| pages.page(page)[0]);
        assert_eq!(seen, [0, 1, 2, 3, 0]);
        top.verify().unwrap();
        let base = std::fs::File::options()
            .write(true)
            .open(at("1").join(MEMORY_FILE))
            .unwrap();
        std::os::unix::fs::FileExt::write_all_at(&base, &[9], PAGE).unwrap();
        let error = top.verify().unwrap_err().to_string();
        assert!(error.contains(&at("1").display().to_string()), "{error}");
    }

    #[test]
    fn a_parent_that_is_gone_or_another_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let (base, top) = (folder.path().join("base"), folder.path().join("top"));
        write(&base, 1, None).unwrap();
        write(&top, 2, Some((&base, 1))).unwrap();
        let error = || {
            let error = Snapshot::open(&top).unwrap_err();
            assert!(matches!(error, SnapshotError::Parent { .. }), "{error}");
            error.to_string()
        };
        write(&base, 5, None).unwrap();
        assert!(error().contains(&format!("{} has been replaced", base.display())));
        std::fs::write(base.join(STATE_FILE), b"PROVIUM").unwrap();
        assert!(error().contains("has only 7 bytes"));
        std::fs::remove_dir_all(&base).unwrap();
        assert!(error().contains("No such file"));
        write(&base, 1, None).unwrap();
        Snapshot::open(&top).unwrap();
    }

    #[test]
    fn a_circle_of_parents_is_no_endless_walk() {
        let folder = tempfile::tempdir().unwrap();
        let error = write(folder.path(), 1, Some((folder.path(), 1)))
            .unwrap_err()
            .to_string();
        assert!(error.contains("snapshots are stacked"), "{error}");
    }
}
