//! Writes a layer's file, and compares one with its index.
//!
//! Input: pages in ascending order, or a file with its index. Output: a sparse file and its index, or whether
//! they belong together. Not here: reading single pages, which whoever maps or opens the file does.

use std::fs::File;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use xxhash_rust::xxh3::Xxh3;

use super::error::{LayerError, io_error};
use super::index::{PAGE, PageIndex};

/// Bytes that are read or written at once.
const CHUNK: u64 = 1 << 20;

/// Writes a layer's file, page after page.
pub(crate) struct LayerWriter {
    path: PathBuf,
    file: File,
    index: PageIndex,
    hash: Xxh3,
    /// Bytes of pages that are written together, and the offset of the first.
    pending: Vec<u8>,
    pending_at: u64,
}

impl LayerWriter {
    /// Creates the file `name` in `folder`, `len` bytes long. A guest's memory may hold secrets of its tests,
    /// so that nobody but its user can read it.
    pub(crate) fn create(folder: &Path, name: &str, len: u64) -> Result<Self, LayerError> {
        let path = folder.join(name);
        let options = File::options()
            .read(true)
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&path);
        let file = options.map_err(io_error(&path))?;
        file.set_len(len).map_err(io_error(&path))?;
        Ok(Self {
            path,
            file,
            index: PageIndex::default(),
            hash: Xxh3::new(),
            pending: Vec::new(),
            pending_at: 0,
        })
    }

    /// Adds `page` with its content of [`PAGE`] bytes; pages come in ascending order. A page of zeros is in
    /// the index and the checksum, but takes no space.
    pub(crate) fn push(&mut self, page: u64, content: &[u8]) -> Result<(), LayerError> {
        debug_assert_eq!(content.len() as u64, PAGE);
        self.index.push(page);
        self.hash.update(content);
        let follows = self.pending_at + self.pending.len() as u64 == page * PAGE;
        if !follows || self.pending.len() as u64 >= CHUNK {
            self.flush()?;
        }
        if is_zero(content) {
            return self.flush();
        }
        if self.pending.is_empty() {
            self.pending_at = page * PAGE;
        }
        self.pending.extend_from_slice(content);
        Ok(())
    }

    fn flush(&mut self) -> Result<(), LayerError> {
        if !self.pending.is_empty() {
            self.file
                .write_all_at(&self.pending, self.pending_at)
                .map_err(io_error(&self.path))?;
            self.pending.clear();
        }
        Ok(())
    }

    /// Writes the rest through to the host's disk; gives the index.
    pub(crate) fn finish(mut self) -> Result<PageIndex, LayerError> {
        self.flush()?;
        self.file.sync_all().map_err(io_error(&self.path))?;
        self.index.checksum = self.hash.digest();
        Ok(self.index)
    }
}

/// Whether all bytes are zero.
pub(crate) fn is_zero(bytes: &[u8]) -> bool {
    let (words, tail) = bytes.as_chunks::<16>();
    words.iter().all(|word| u128::from_ne_bytes(*word) == 0) && tail.iter().all(|byte| *byte == 0)
}

/// Reads the whole file, which should have `memory` bytes, and compares it with its index. In a base, which
/// has no parent, what is not in the index has to be zero, since it is mapped all the same.
pub(crate) fn verify(
    path: &Path,
    file: &File,
    memory: u64,
    index: &PageIndex,
    is_base: bool,
) -> Result<(), LayerError> {
    let name = path.file_name().unwrap_or_default().display();
    let damaged = |what: String| LayerError::Damaged {
        folder: path.parent().unwrap_or(path).to_owned(),
        what,
    };
    let len = file.metadata().map_err(io_error(path))?.len();
    if len != memory {
        return Err(damaged(format!(
            "its file `{name}` has {len} bytes and should have {memory}"
        )));
    }
    let mut hash = Xxh3::new();
    let mut buffer = vec![0; CHUNK as usize];
    let mut free = 0;
    let end = (memory / PAGE, 0);
    for &(first, count) in index.runs.iter().chain([&end]) {
        if is_base {
            read(path, file, free..first, &mut buffer, &mut |bytes| {
                is_zero(bytes)
                    .then_some(())
                    .ok_or_else(|| damaged(format!("its file `{name}` has bytes where there should be none")))
            })?;
        }
        read(path, file, first..first + count, &mut buffer, &mut |bytes| {
            hash.update(bytes);
            Ok(())
        })?;
        free = first + count;
    }
    if hash.digest() != index.checksum {
        return Err(damaged(format!(
            "its file `{name}` has another checksum than when it was written"
        )));
    }
    Ok(())
}

fn read(
    path: &Path,
    file: &File,
    pages: std::ops::Range<u64>,
    buffer: &mut [u8],
    take: &mut dyn FnMut(&[u8]) -> Result<(), LayerError>,
) -> Result<(), LayerError> {
    let (mut at, end) = (pages.start * PAGE, pages.end * PAGE);
    while at < end {
        let len = (end - at).min(CHUNK) as usize;
        file.read_exact_at(&mut buffer[..len], at)
            .map_err(io_error(path))?;
        take(&buffer[..len])?;
        at += len as u64;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use super::*;

    const FILE: &str = "memory";
    const MEMORY: u64 = 4 << 20;

    fn write(folder: &Path, pages: &[(u64, u8)]) -> PageIndex {
        let mut writer = LayerWriter::create(folder, FILE, MEMORY).unwrap();
        for (page, byte) in pages {
            writer.push(*page, &[*byte; PAGE as usize]).unwrap();
        }
        writer.finish().unwrap()
    }

    fn check(folder: &Path, index: &PageIndex, is_base: bool) -> Result<(), LayerError> {
        let path = folder.join(FILE);
        let file = File::open(&path).unwrap();
        verify(&path, &file, MEMORY, index, is_base)
    }

    #[test]
    fn pages_lie_at_their_places_and_zeros_take_no_space() {
        let folder = tempfile::tempdir().unwrap();
        let index = write(folder.path(), &[(0, 1), (1, 2), (2, 0), (100, 3), (1023, 4)]);
        assert_eq!(index.runs, [(0, 3), (100, 1), (1023, 1)]);
        check(folder.path(), &index, true).unwrap();
        let file = File::open(folder.path().join(FILE)).unwrap();
        for (page, byte) in [(0, 1), (1, 2), (2, 0), (100, 3), (1023, 4), (50, 0)] {
            let mut content = [9; PAGE as usize];
            file.read_exact_at(&mut content, page * PAGE).unwrap();
            assert_eq!(content, [byte; PAGE as usize], "page {page}");
        }
        let on_disk = file.metadata().unwrap().blocks() * 512;
        assert!(on_disk < MEMORY / 4, "{on_disk} bytes on disk");
    }

    #[test]
    fn every_region_that_changes_is_noticed() {
        let folder = tempfile::tempdir().unwrap();
        let index = write(folder.path(), &[(3, 1), (4, 2), (700, 0)]);
        let path = folder.path().join(FILE);
        let file = File::options().write(true).open(&path).unwrap();
        for page in [0, 3, 4, 5, 699, 700, 701, 1023] {
            let mut before = [0];
            File::open(&path)
                .unwrap()
                .read_exact_at(&mut before, page * PAGE + 77)
                .unwrap();
            file.write_all_at(&[before[0] ^ 8], page * PAGE + 77).unwrap();
            assert!(check(folder.path(), &index, true).is_err(), "page {page}");
            let is_own = [3, 4, 700].contains(&page);
            let noticed = check(folder.path(), &index, false).is_err();
            assert_eq!(noticed, is_own, "page {page} of a layer with a parent");
            file.write_all_at(&before, page * PAGE + 77).unwrap();
        }
        check(folder.path(), &index, true).unwrap();
        for len in [MEMORY - 1, MEMORY + 1, 0] {
            file.set_len(len).unwrap();
            assert!(check(folder.path(), &index, true).is_err(), "{len} bytes");
        }
    }
}
