//! The pages that a guest of a snapshot writes first, noted beside it.
//!
//! Input: what a guest wrote that was resumed for a try. Output: a file, and runs of pages read back from it.
//! Not here: which guest that was.
//!
//! It is advice: such pages are copied before the next guest runs, all at once and without an exit of the
//! guest's for each. A file that is missing, cut short or of another snapshot advises nothing. The file is
//! the snapshot's id (two u64), then first page and number of pages (u64) of each run, then the XXH3-64 of
//! all that, little-endian.

use std::io;
use std::path::Path;

use xxhash_rust::xxh3::xxh3_64;

use super::files::TOUCHED_FILE;
use super::id::SnapshotId;
use crate::layer::PageIndex;

/// Most pages that are noted: each is memory of every guest's own.
const MOST: u64 = 1000;

/// Writes the pages, in order, into the snapshot's folder: the lowest where they are too many.
pub(crate) fn write(folder: &Path, id: SnapshotId, pages: impl Iterator<Item = u64>) -> io::Result<()> {
    let mut index = PageIndex::default();
    pages.take(MOST as usize).for_each(|page| index.push(page));
    let runs = index.runs.iter().flat_map(|(first, count)| [*first, *count]);
    let mut bytes: Vec<u8> = [id.0, id.1]
        .into_iter()
        .chain(runs)
        .flat_map(u64::to_le_bytes)
        .collect();
    bytes.extend(xxh3_64(&bytes).to_le_bytes());
    std::fs::write(folder.join(TOUCHED_FILE), bytes)
}

/// The runs of pages that are noted beside the snapshot of a guest with so many pages; none where nothing is.
pub(super) fn read(folder: &Path, id: SnapshotId, pages: u64) -> Vec<(u64, u64)> {
    let bytes = std::fs::read(folder.join(TOUCHED_FILE)).unwrap_or_default();
    parse(&bytes, id, pages).unwrap_or_default()
}

fn parse(bytes: &[u8], id: SnapshotId, pages: u64) -> Option<Vec<(u64, u64)>> {
    let (noted, checksum) = bytes.split_last_chunk::<8>()?;
    let (words, rest) = noted.as_chunks::<8>();
    let words: Vec<u64> = words.iter().map(|word| u64::from_le_bytes(*word)).collect();
    let ([first, second], runs) = words.split_first_chunk::<2>()?;
    let (runs, odd) = runs.as_chunks::<2>();
    let whole = rest.is_empty() && odd.is_empty() && xxh3_64(noted).to_le_bytes() == *checksum;
    let index = PageIndex {
        runs: runs.iter().map(|[first, count]| (*first, *count)).collect(),
        checksum: 0,
    };
    let good =
        whole && SnapshotId(*first, *second) == id && index.check(pages).is_ok() && index.pages() <= MOST;
    good.then_some(index.runs)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: SnapshotId = SnapshotId(7, 9);

    #[test]
    fn what_is_noted_is_read_back_and_nothing_else_is() {
        let folder = tempfile::tempdir().unwrap();
        assert!(read(folder.path(), ID, 100).is_empty(), "there is none yet");
        write(folder.path(), ID, [3, 4, 5, 90].into_iter()).unwrap();
        assert_eq!(read(folder.path(), ID, 100), [(3, 3), (90, 1)]);
        assert!(
            read(folder.path(), SnapshotId(7, 8), 100).is_empty(),
            "another snapshot's"
        );
        assert!(read(folder.path(), ID, 90).is_empty(), "beyond the memory");
        let good = std::fs::read(folder.path().join(TOUCHED_FILE)).unwrap();
        for at in 0..good.len() {
            let mut bad = good.clone();
            bad[at] ^= 1 << (at % 8);
            assert_eq!(parse(&bad, ID, 100), None, "byte {at} flipped");
            assert_eq!(parse(&good[..at], ID, 100), None, "cut at {at}");
        }
    }

    #[test]
    fn no_more_is_noted_than_every_guest_may_have() {
        let folder = tempfile::tempdir().unwrap();
        write(folder.path(), ID, (0..).step_by(2)).unwrap();
        assert_eq!(read(folder.path(), ID, 1 << 20).len() as u64, MOST);
    }
}
