//! Where a disk's bytes are: an overlay over a snapshot's layer over an image, and what a power cut takes
//! back.
//!
//! Input: reads, writes, flushes at byte offsets within the disk. Output: files. Not here: who may do what,
//! locks, faults.
//!
//! Writes go to the overlay, a sparse file without a name, made at the first of them; or into the image where
//! the user wants that. The first write to a block since the last flush puts into the undo log what was there
//! before; a flush drops the log, a power cut plays it back.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use super::blocks::BlockSet;
use super::image::ImageFile;
use super::overlay_files;
use super::space::Space;

/// Bytes of a block; as many as a page, so that a snapshot's files are alike.
pub(crate) const BLOCK: u64 = 4096;

/// Blocks in a file at their places, which nothing changes any more.
#[derive(Debug)]
pub(crate) struct BlockLayer {
    pub(crate) file: File,
    pub(crate) blocks: BlockSet,
}

/// Blocks in a file without a name, while they change.
#[derive(Debug, Default)]
struct SparseFile {
    file: Option<File>,
    blocks: BlockSet,
    /// Bytes of `blocks`.
    space: Space,
}

/// The undo log: what was there before the writes that have not been flushed.
#[derive(Debug, Default)]
struct UndoLog {
    /// The undo log that the disk has from a snapshot.
    layer: Option<Arc<BlockLayer>>,
    /// Blocks that were in the overlay (or in the image, where that is written), with what they held.
    saved: SparseFile,
    /// Blocks that were not in the overlay.
    absent: BlockSet,
}

/// The bytes of one disk.
#[derive(Debug)]
pub(crate) struct Store {
    size: u64,
    image: Option<Arc<ImageFile>>,
    /// Whether writes go into the image.
    through: bool,
    layer: Option<Arc<BlockLayer>>,
    overlay: SparseFile,
    undo: UndoLog,
}

/// Which file a block is read from.
#[derive(Clone, Copy, PartialEq, Eq)]
enum BlockSource {
    Overlay,
    BlockLayer,
    Image,
    Nowhere,
}

impl SparseFile {
    fn file(&mut self) -> io::Result<&File> {
        match &mut self.file {
            Some(file) => Ok(file),
            none => Ok(none.insert(overlay_files::unnamed()?)),
        }
    }

    fn read(&self, at: u64, data: &mut [u8]) -> io::Result<()> {
        match &self.file {
            Some(file) => file.read_exact_at(data, at),
            None => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }

    /// Writes within blocks of which the rest is there already.
    fn write(&mut self, at: u64, data: &[u8]) -> io::Result<()> {
        let blocks = at / BLOCK..(at + data.len() as u64).div_ceil(BLOCK);
        let new = blocks
            .clone()
            .filter(|block| !self.blocks.contains(*block))
            .count() as u64
            * BLOCK;
        self.space.take(new)?;
        let written = self.file().and_then(|file| file.write_all_at(data, at));
        match written {
            Ok(()) => self.blocks.extend(blocks),
            Err(_) => self.space.give_back(new),
        }
        written
    }

    fn remove(&mut self, block: u64) {
        if self.blocks.contains(block) {
            self.blocks.remove(block);
            self.space.give_back(BLOCK);
        }
    }

    fn clear(&mut self) -> io::Result<()> {
        self.blocks.clear();
        self.space = Space::default();
        self.file.as_ref().map_or(Ok(()), |file| file.set_len(0))
    }
}

impl Store {
    /// A disk of `size` bytes on top of `image`; `through` writes into it.
    pub(crate) fn new(size: u64, image: Option<Arc<ImageFile>>, through: bool) -> Store {
        Store {
            size,
            through: through && image.is_some(),
            image,
            layer: None,
            overlay: SparseFile::default(),
            undo: UndoLog::default(),
        }
    }

    /// The same store with the layer and the undo log that a snapshot has of it.
    pub(crate) fn with_layers(mut self, layer: Arc<BlockLayer>, undo: Arc<BlockLayer>) -> Store {
        self.layer = Some(layer);
        self.undo.layer = Some(undo);
        self
    }

    /// The image below, if there is one.
    pub(crate) fn image(&self) -> Option<&Arc<ImageFile>> {
        self.image.as_ref()
    }

    fn source(&self, block: u64) -> BlockSource {
        if self.overlay.blocks.contains(block) {
            BlockSource::Overlay
        } else if self
            .layer
            .as_ref()
            .is_some_and(|layer| layer.blocks.contains(block))
        {
            BlockSource::BlockLayer
        } else if self.image.is_some() {
            BlockSource::Image
        } else {
            BlockSource::Nowhere
        }
    }

    /// Bytes of a block: the last may be shorter.
    fn block_len(&self, block: u64) -> usize {
        (self.size - block * BLOCK).min(BLOCK) as usize
    }

    /// Reads from byte `at` on, within the disk.
    pub(crate) fn read(&self, at: u64, data: &mut [u8]) -> io::Result<()> {
        let end = at + data.len() as u64;
        let mut from = at;
        while from < end {
            let source = self.source(from / BLOCK);
            let mut to = (from / BLOCK + 1) * BLOCK;
            while to < end && self.source(to / BLOCK) == source {
                to += BLOCK;
            }
            let to = to.min(end);
            let part = &mut data[(from - at) as usize..(to - at) as usize];
            match (source, &self.layer, &self.image) {
                (BlockSource::Overlay, ..) => self.overlay.read(from, part)?,
                (BlockSource::BlockLayer, Some(layer), _) => layer.file.read_exact_at(part, from)?,
                (BlockSource::Image, _, Some(image)) => image.read(from, part)?,
                _ => part.fill(0),
            }
            from = to;
        }
        Ok(())
    }

    /// Writes what is within the disk.
    pub(crate) fn write(&mut self, at: u64, data: &[u8]) -> io::Result<()> {
        for block in at / BLOCK..(at + data.len() as u64).div_ceil(BLOCK) {
            self.remember(block)?;
        }
        self.put(at, data)
    }

    /// The same, and no power cut takes it back.
    pub(crate) fn write_for_good(&mut self, at: u64, data: &[u8]) -> io::Result<()> {
        let end = at + data.len() as u64;
        let mut old = vec![0; BLOCK as usize];
        for block in at / BLOCK..end.div_ceil(BLOCK) {
            if !self.is_unflushed(block) {
                continue;
            }
            self.old_block(block, &mut old)?;
            let start = block * BLOCK;
            let (from, to) = (at.max(start), end.min(start + BLOCK));
            old[(from - start) as usize..(to - start) as usize]
                .copy_from_slice(&data[(from - at) as usize..(to - at) as usize]);
            let len = self.block_len(block);
            self.undo.saved.write(start, &old[..len])?;
            self.undo.absent.remove(block);
        }
        self.put(at, data)
    }

    fn put(&mut self, at: u64, data: &[u8]) -> io::Result<()> {
        let end = at + data.len() as u64;
        if let (true, Some(image)) = (self.through, &self.image) {
            return image.write(at, data);
        }
        for block in at / BLOCK..end.div_ceil(BLOCK) {
            let start = block * BLOCK;
            let whole = at <= start && start + self.block_len(block) as u64 <= end;
            if !whole && !self.overlay.blocks.contains(block) {
                let mut content = vec![0; self.block_len(block)];
                self.read(start, &mut content)?;
                self.overlay.write(start, &content)?;
            }
        }
        self.overlay.write(at, data)
    }

    fn is_unflushed(&self, block: u64) -> bool {
        let undo = &self.undo;
        undo.saved.blocks.contains(block)
            || undo.absent.contains(block)
            || undo
                .layer
                .as_ref()
                .is_some_and(|layer| layer.blocks.contains(block))
    }

    /// Puts into the log what is in `block` before it is written for the first time since a flush.
    fn remember(&mut self, block: u64) -> io::Result<()> {
        if self.is_unflushed(block) {
            return Ok(());
        }
        if !self.through && !self.overlay.blocks.contains(block) {
            self.undo.absent.insert(block);
            return Ok(());
        }
        let mut content = vec![0; self.block_len(block)];
        self.read(block * BLOCK, &mut content)?;
        self.undo.saved.write(block * BLOCK, &content)
    }

    /// Makes everything written so far last over a power cut.
    pub(crate) fn flush(&mut self) -> io::Result<()> {
        if let (true, Some(image)) = (self.through, &self.image) {
            image.sync()?;
        }
        self.undo.layer = None;
        self.undo.absent.clear();
        self.undo.saved.clear()
    }

    /// Takes back everything that was not flushed.
    pub(crate) fn roll_back(&mut self) -> io::Result<()> {
        for block in self.undo.absent.iter() {
            self.overlay.remove(block);
        }
        self.undo.absent.clear();
        let mut content = vec![0; BLOCK as usize];
        for block in self.unflushed_blocks().iter() {
            self.old_block(block, &mut content)?;
            let content = &content[..self.block_len(block)];
            match (&self.image, self.through) {
                (Some(image), true) => image.write(block * BLOCK, content)?,
                _ => {
                    self.overlay.write(block * BLOCK, content)?;
                }
            }
        }
        self.undo.layer = None;
        self.undo.saved.clear()
    }

    /// The blocks whose content is not the image's.
    pub(crate) fn own_blocks(&self) -> BlockSet {
        let mut blocks = self
            .layer
            .as_ref()
            .map_or_else(BlockSet::default, |layer| layer.blocks.clone());
        blocks.extend(self.overlay.blocks.iter());
        blocks
    }

    /// The blocks that a power cut would change.
    pub(crate) fn unflushed_blocks(&self) -> BlockSet {
        let mut blocks = self.undo.absent.clone();
        blocks.extend(self.undo.saved.blocks.iter());
        blocks.extend(self.undo.layer.iter().flat_map(|layer| layer.blocks.iter()));
        blocks
    }

    /// Reads a block as it is, followed by zeros up to [`BLOCK`].
    pub(crate) fn block(&self, block: u64, content: &mut [u8]) -> io::Result<()> {
        content.fill(0);
        self.read(block * BLOCK, &mut content[..self.block_len(block)])
    }

    /// Reads a block as a power cut would make it, the same way; it is one of
    /// [`unflushed_blocks`](Self::unflushed_blocks).
    pub(crate) fn old_block(&self, block: u64, content: &mut [u8]) -> io::Result<()> {
        content.fill(0);
        let (at, part) = (block * BLOCK, &mut content[..self.block_len(block)]);
        let undo = &self.undo;
        if undo.saved.blocks.contains(block) {
            return undo.saved.read(at, part);
        }
        if let Some(layer) = undo.layer.as_ref().filter(|layer| layer.blocks.contains(block)) {
            return layer.file.read_exact_at(part, at);
        }
        match (&self.layer, &self.image) {
            (Some(layer), _) if layer.blocks.contains(block) => layer.file.read_exact_at(part, at),
            (_, Some(image)) => image.read(at, part),
            _ => Ok(()),
        }
    }
}
