//! A disk in a snapshot's folder.
//!
//! Input: a disk, or what a snapshot has of one. Output: the other. Not here: the image below a disk, which
//! is not in the snapshot and has to be the same still.
//!
//! A disk has two sparse files, layers like the file `memory`: what differs from the image, overlay and older
//! layers flattened into one; and what a power cut would make of the blocks that were not flushed.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;
use provium_devices::virtio::block::SECTOR;
use serde::{Deserialize, Serialize};

use super::blocks::BlockSet;
use super::error::{DiskError, SavedDiskError};
use super::image::{ImageFile, ImageStamp};
use super::medium::Disk;
use super::spec::{DiskSpec, MAX_DISK};
use super::store::{BLOCK, BlockLayer, Store};
use crate::layer::{self, LayerError, LayerWriter, PageIndex, io_error};

/// A digest of an image's content, made by whoever saves.
pub type ImageDigest = [u8; 32];

/// What a snapshot has of a disk, beside its files.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DiskState {
    /// The slot it is in.
    pub slot: u8,
    /// The disk's name.
    pub id: String,
    /// Bytes of the disk.
    pub size: u64,
    /// Whether the guest cannot write.
    pub readonly: bool,
    /// Whether it has power.
    pub powered: bool,
    /// The image below, if there is one.
    pub image: Option<ImageState>,
    /// The blocks in the disk's file.
    pub content: PageIndex,
    /// The blocks in the file of the undo log.
    pub undo: PageIndex,
}

/// An image that a snapshot needs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageState {
    /// The path it had.
    pub path: PathBuf,
    /// The stamp it had.
    pub stamp: ImageStamp,
    /// The digest of its content, where whoever saved had one.
    pub digest: Option<ImageDigest>,
}

/// The names of the two files of the disk in `slot`: content and undo log.
fn names(slot: u8) -> (String, String) {
    (format!("disk-{slot}"), format!("disk-{slot}.undo"))
}

/// The names that files of disks can have in a snapshot's folder.
pub(crate) fn all_names(slots: u8) -> impl Iterator<Item = String> {
    (0..slots).map(names).flat_map(|(content, undo)| [content, undo])
}

impl DiskState {
    /// Refuses a state that no disk in one of `slots` slots can have; the error says what is wrong.
    pub(crate) fn check(&self, slots: u8) -> Result<(), String> {
        if self.slot >= slots {
            return Err(format!("a disk in slot {}", self.slot));
        }
        if self.size == 0 || self.size > MAX_DISK || !self.size.is_multiple_of(SECTOR) {
            return Err(format!("a disk of {} bytes", self.size));
        }
        let blocks = self.size.div_ceil(BLOCK);
        self.content.check(blocks)?;
        self.undo.check(blocks)
    }
}

impl Disk {
    /// Writes the disk into `folder` as that of `slot`; nobody writes to it meanwhile. `digest` is that of
    /// its image.
    pub(crate) fn save(
        &self,
        folder: &Path,
        slot: u8,
        digest: Option<ImageDigest>,
    ) -> Result<DiskState, LayerError> {
        let content = self.content();
        let store = &content.store;
        let (name, undo_name) = names(slot);
        let write = |name: &str, blocks: BlockSet, old: bool| {
            let mut writer = LayerWriter::create(folder, name, self.size().next_multiple_of(BLOCK))?;
            let mut bytes = vec![0; BLOCK as usize];
            for block in blocks.iter() {
                let read = match old {
                    true => store.old_block(block, &mut bytes),
                    false => store.block(block, &mut bytes),
                };
                read.map_err(io_error(&folder.join(name)))?;
                writer.push(block, &bytes)?;
            }
            writer.finish()
        };
        let image = store.image().map(|image| ImageState {
            path: image.path.clone(),
            stamp: image.stamp,
            digest,
        });
        Ok(DiskState {
            slot,
            id: self.spec().id.clone(),
            size: self.size(),
            readonly: self.spec().readonly,
            powered: content.powered,
            image,
            content: write(&name, store.own_blocks(), false)?,
            undo: write(&undo_name, store.unflushed_blocks(), true)?,
        })
    }
}

/// A disk of an opened snapshot.
pub(crate) struct SavedDisk {
    folder: PathBuf,
    pub(crate) state: DiskState,
    content: Arc<BlockLayer>,
    undo: Arc<BlockLayer>,
    /// What is known of the image by now.
    image: Mutex<ImageCheck>,
}

#[derive(Default)]
struct ImageCheck {
    /// The image, once it was opened.
    open: Option<Arc<ImageFile>>,
    /// A stamp other than the saved one under which the content was found to be the same.
    confirmed: Option<ImageStamp>,
}

impl SavedDisk {
    /// Opens the files that belong to `state`; the image is looked at when it is needed.
    pub(crate) fn open(folder: &Path, state: &DiskState) -> Result<SavedDisk, LayerError> {
        let open = |name: &str, index: &PageIndex| {
            let path = folder.join(name);
            let file = File::open(&path).map_err(io_error(&path))?;
            let (len, wanted) = (
                file.metadata().map_err(io_error(&path))?.len(),
                state.size.next_multiple_of(BLOCK),
            );
            if len != wanted {
                return Err(LayerError::Damaged {
                    folder: folder.to_owned(),
                    what: format!("its file `{name}` has {len} bytes and should have {wanted}"),
                });
            }
            let mut blocks = BlockSet::default();
            blocks.extend(index.runs.iter().flat_map(|(first, count)| *first..first + count));
            Ok(Arc::new(BlockLayer { file, blocks }))
        };
        let (name, undo) = names(state.slot);
        Ok(SavedDisk {
            folder: folder.to_owned(),
            content: open(&name, &state.content)?,
            undo: open(&undo, &state.undo)?,
            state: state.clone(),
            image: Mutex::default(),
        })
    }

    /// Reads its files and compares them with the checksums.
    pub(crate) fn verify(&self) -> Result<(), LayerError> {
        let (name, undo) = names(self.state.slot);
        let len = self.state.size.next_multiple_of(BLOCK);
        let state = &self.state;
        layer::verify(
            &self.folder.join(name),
            &self.content.file,
            len,
            &state.content,
            false,
        )?;
        layer::verify(&self.folder.join(undo), &self.undo.file, len, &state.undo, false)
    }

    /// Accepts an image with another stamp if `digest` gives the digest that was saved.
    pub(crate) fn confirm(
        &self,
        digest: &dyn Fn(&Path) -> std::io::Result<ImageDigest>,
    ) -> Result<(), SavedDiskError> {
        let Some(image) = &self.state.image else {
            return Ok(());
        };
        let failed = |why: String| self.image_error(&image.path, why);
        let mut known = self.image.lock();
        let stamp = ImageStamp::of(&image.path).map_err(|error| failed(error.to_string()))?;
        if known.open.is_some() || stamp == image.stamp || known.confirmed == Some(stamp) {
            return Ok(());
        }
        match image.digest {
            Some(wanted) if stamp.len == image.stamp.len => {
                let found = digest(&image.path).map_err(|error| failed(error.to_string()))?;
                if found != wanted {
                    return Err(failed(CHANGED.to_owned()));
                }
                known.confirmed = Some(stamp);
                Ok(())
            }
            _ => Err(failed(CHANGED.to_owned())),
        }
    }

    /// A new disk that is as this one was.
    pub(crate) fn disk(&self) -> Result<Arc<Disk>, SavedDiskError> {
        let state = &self.state;
        let store = Store::new(state.size, self.open_image()?, false);
        let store = store.with_layers(Arc::clone(&self.content), Arc::clone(&self.undo));
        let spec = DiskSpec {
            id: state.id.clone(),
            image: state.image.as_ref().map(|image| image.path.clone()),
            size: Some(state.size),
            readonly: state.readonly,
            writable: false,
        };
        Ok(Disk::of(spec, state.size, store, state.powered))
    }

    fn open_image(&self) -> Result<Option<Arc<ImageFile>>, SavedDiskError> {
        let Some(image) = &self.state.image else {
            return Ok(None);
        };
        let failed = |why: String| self.image_error(&image.path, why);
        let mut known = self.image.lock();
        let file = match &known.open {
            Some(file) => Arc::clone(file),
            None => {
                let opened = ImageFile::open(&image.path, false).map_err(|error| match error {
                    DiskError::Image { why, .. } => failed(why),
                    other => failed(other.to_string()),
                });
                Arc::new(opened?)
            }
        };
        let stamp = file.stamp_now().map_err(|error| failed(error.to_string()))?;
        if stamp != image.stamp && known.confirmed != Some(stamp) {
            return Err(failed(CHANGED.to_owned()));
        }
        known.open = Some(Arc::clone(&file));
        Ok(Some(file))
    }

    fn image_error(&self, image: &Path, why: String) -> SavedDiskError {
        SavedDiskError::Image {
            folder: self.folder.clone(),
            disk: self.state.id.clone(),
            image: image.to_owned(),
            why,
        }
    }
}

const CHANGED: &str = "it has changed since the snapshot was made";
