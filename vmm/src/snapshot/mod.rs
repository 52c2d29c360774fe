//! Snapshots: a paused machine as a few files, and back.
//!
//! Enters: a machine, or a folder with the files `state` and `memory`, and two for each disk. Leaves: the other. Absent on purpose:
//! where snapshots are kept, what they are named and when they are stale.
//!
//! ```text
//! state    what is in the file `state`: every vCPU, chip and device, in one structure
//! format   that file's frame: magic, version, length, checksum
//! index    which pages of the guest are in the file `memory`, and their checksum
//! layer    writes and verifies that file
//! image    one snapshot's memory as a machine maps it: its own layer over its parent's
//! dirty    which pages have changed since a machine was equal to a snapshot
//! ```
//!
//! # The format
//!
//! `memory` has the guest's pages at their places: the bytes of RAM from address 0, then those above 4 GiB, without
//! the hole between them. It is sparse. Of a snapshot without parent, pages that are not in the index are zero; of one
//! with a parent they are the parent's, and what the file has there is never looked at.
//!
//! `disk-N` and `disk-N.undo`, for the disk in slot N, have its blocks at their places in the same way: those that
//! differ from its image, and those that a power cut would bring back.
//!
//! `state` is, little-endian: the magic `PROVIUM\0`, the format's version (u32), the length of what follows but for
//! the checksum (u64), a [`MachineState`](state::MachineState) in MessagePack with named fields, and the XXH3-64 of
//! everything before it.
//!
//! A machine maps `memory` copy-on-write, so the file must not change while it is used. Opening a snapshot checks
//! `state` in full; `memory` is checked by its size then, and by [`Snapshot::verify`] in full: that reads all of it, and
//! is for whoever does not know where the file has been since it was written.

pub(crate) mod dirty;
mod format;
mod image;
mod index;
mod layer;
pub mod state;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

pub use format::FORMAT_VERSION;
pub(crate) use image::{Image, Pages};
pub(crate) use index::{PAGE, PageIndex};
pub(crate) use layer::{LayerWriter, is_zero, verify as verify_layer};

use crate::disk::saved::{self, SavedDisk};
use crate::disk::{Disk, ImageDigest};
use crate::kvm::host::HostModel;
use crate::limits::MAX_DISKS;
use state::MachineState;

/// The file with everything but memory.
pub const STATE_FILE: &str = "state";
/// The file with the guest's memory.
pub const MEMORY_FILE: &str = "memory";

/// The files that a snapshot may have.
pub fn files() -> Vec<String> {
    let own = [STATE_FILE, MEMORY_FILE].map(str::to_owned);
    own.into_iter().chain(saved::all_names(MAX_DISKS)).collect()
}

/// Why a snapshot cannot be written or used.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// A file cannot be read or written.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The files are not what was written.
    #[error("the snapshot in {} is damaged: {what}", folder.display())]
    Damaged {
        /// Where it is.
        folder: PathBuf,
        /// What is wrong.
        what: String,
    },
    /// It was written by another version of Provium.
    #[error("the snapshot in {} has format {found}, and this is {FORMAT_VERSION}", folder.display())]
    Version {
        /// Where it is.
        folder: PathBuf,
        /// Its version.
        found: u32,
    },
    /// It was made on another kind of host.
    #[error("the snapshot in {} was made on {made_on}, and this host is {this}", folder.display())]
    Host {
        /// Where it is.
        folder: PathBuf,
        /// Its host.
        made_on: Box<HostModel>,
        /// This one.
        this: Box<HostModel>,
    },
    /// The image below one of its disks is not what it was.
    #[error("the snapshot in {} cannot be used: image of disk `{disk}`: {}: {why}", folder.display(), image.display())]
    DiskImage {
        /// Where it is.
        folder: PathBuf,
        /// The disk.
        disk: String,
        /// The image.
        image: PathBuf,
        /// What became of it.
        why: String,
    },
    /// Its parent is gone or has been replaced.
    #[error("the snapshot in {} cannot be used without its parent: {why}", folder.display())]
    Parent {
        /// Where it is.
        folder: PathBuf,
        /// What became of the parent.
        why: String,
    },
}

/// Adds the file to an error of the system.
pub(crate) fn io_error(path: &Path) -> impl FnOnce(io::Error) -> SnapshotError {
    let path = path.to_owned();
    move |source| SnapshotError::Io { path, source }
}

/// Names a snapshot's content; every save makes a new one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub struct SnapshotId(pub u64, pub u64);

impl SnapshotId {
    pub(crate) fn fresh() -> io::Result<Self> {
        let mut bytes = [0; 16];
        rustix::rand::getrandom(&mut bytes[..], rustix::rand::GetRandomFlags::empty())?;
        let (high, low) = (u128::from_le_bytes(bytes) >> 64, u128::from_le_bytes(bytes));
        Ok(Self(high as u64, low as u64))
    }
}

impl std::fmt::Display for SnapshotId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:016x}{:016x}", self.0, self.1)
    }
}

/// A snapshot that has been opened: its state is checked, its memory can be mapped.
pub struct Snapshot {
    folder: PathBuf,
    state: MachineState,
    image: Arc<Image>,
    pages: OnceLock<Pages>,
    disks: Vec<SavedDisk>,
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

    /// Reads all of `memory`, and the parents', and compares it with the checksums.
    ///
    /// # Errors
    /// [`SnapshotError::Damaged`] when a byte is not what was written.
    pub fn verify(&self) -> Result<(), SnapshotError> {
        self.image.verify()?;
        self.disks.iter().try_for_each(SavedDisk::verify)
    }

    /// Looks at the images below its disks: one that was touched since is good if `digest` finds the content that it
    /// had. Without this call, one that was touched is not.
    ///
    /// # Errors
    /// [`SnapshotError::DiskImage`] for the first that is another.
    pub fn confirm_images(
        &self,
        digest: &dyn Fn(&Path) -> io::Result<ImageDigest>,
    ) -> Result<(), SnapshotError> {
        self.disks.iter().try_for_each(|disk| disk.confirm(digest))
    }

    /// Its disks, made anew: slot and disk.
    pub(crate) fn disks(&self) -> Result<Vec<(u8, Arc<Disk>)>, SnapshotError> {
        let disks = self.disks.iter();
        disks.map(|saved| Ok((saved.state.slot, saved.disk()?))).collect()
    }

    /// The folder it is in.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The name of its content.
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

    /// What whoever saved it wanted to find again.
    pub fn note(&self) -> &[u8] {
        &self.state.note
    }

    /// Nanoseconds since 1970 by the host's clock when it was saved.
    pub fn saved_at_ns(&self) -> u64 {
        self.state.saved_at_ns
    }

    /// Pages that are in its own layer.
    pub fn own_pages(&self) -> u64 {
        self.state.memory.index.pages()
    }

    /// First page and number of pages of the first run in its own layer; `(0, 0)` when it has none.
    pub fn first_run(&self) -> (u64, u64) {
        self.state.memory.index.runs.first().copied().unwrap_or_default()
    }

    /// The folders of its parents, nearest first.
    pub fn parents(&self) -> Vec<PathBuf> {
        self.image.parents()
    }

    /// Whether another snapshot may lie on this one: a stack has an end.
    pub(crate) fn can_be_parent(&self) -> bool {
        self.parents().len() < MAX_DEPTH
    }

    pub(crate) fn state(&self) -> &MachineState {
        &self.state
    }

    pub(crate) fn image(&self) -> &Arc<Image> {
        &self.image
    }

    /// The memory as it was saved, to read from; mapped at the first use.
    pub(crate) fn pages(&self) -> Result<&Pages, SnapshotError> {
        if let Some(pages) = self.pages.get() {
            return Ok(pages);
        }
        let pages = self.image.map_pages()?;
        Ok(self.pages.get_or_init(|| pages))
    }

    /// A snapshot of a state that is known to be good: checked, or just written.
    pub(crate) fn assemble(
        folder: &Path,
        state: MachineState,
        parent: Option<Arc<Image>>,
    ) -> Result<Arc<Snapshot>, SnapshotError> {
        let image = Image::open(folder, &state, parent)?;
        let disks = state.disks.iter().map(|disk| SavedDisk::open(folder, disk));
        let disks = disks.collect::<Result<_, _>>()?;
        Ok(Arc::new(Snapshot {
            folder: folder.to_owned(),
            state,
            image: Arc::new(image),
            pages: OnceLock::new(),
            disks,
        }))
    }
}

/// Parents, theirs included, that a snapshot may have.
const MAX_DEPTH: usize = 32;

/// Writes the file `state`; the last step of a save.
pub(crate) fn write_state(folder: &Path, state: &MachineState) -> Result<(), SnapshotError> {
    format::write(folder, state)
}

#[cfg(test)]
mod tests {
    use super::state::Parent;
    use super::state::tests::sample;
    use super::*;

    /// A snapshot of one page, on `parent` if there is one.
    fn write(folder: &Path, name: u64, parent: Option<(&Path, u64)>) -> Result<Arc<Snapshot>, SnapshotError> {
        std::fs::create_dir_all(folder).unwrap();
        let _ = std::fs::remove_file(folder.join(MEMORY_FILE));
        let mut state = sample();
        state.disks.clear();
        let mut writer = LayerWriter::create(folder, state.shape.memory)?;
        writer.push(name, &[name as u8; PAGE as usize])?;
        state.id = SnapshotId(0, name);
        state.memory.index = writer.finish()?;
        state.memory.parent = parent.map(|(folder, name)| Parent {
            folder: folder.to_owned(),
            id: SnapshotId(0, name),
        });
        write_state(folder, &state)?;
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
