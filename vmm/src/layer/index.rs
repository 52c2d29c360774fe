//! Which pages a layer's file holds.
//!
//! Input: page numbers in ascending order. Output: a [`PageIndex`]. Not here: the pages' bytes.

use serde::{Deserialize, Serialize};

/// Bytes of a page.
pub(crate) const PAGE: u64 = 4096;

/// The pages in a file, as runs, and the checksum of their content.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PageIndex {
    /// `(first page, number of pages)`, in order, with gaps between them.
    pub runs: Vec<(u64, u64)>,
    /// XXH3-64 of the pages' bytes, in order.
    pub checksum: u64,
}

impl PageIndex {
    /// Number of pages.
    pub(crate) fn pages(&self) -> u64 {
        self.runs.iter().map(|(_, count)| count).sum()
    }

    /// The numbers of the pages, in order.
    pub(crate) fn numbers(&self) -> impl Iterator<Item = u64> {
        self.runs.iter().flat_map(|(first, count)| *first..first + count)
    }

    /// Adds a page behind all others.
    pub(crate) fn push(&mut self, page: u64) {
        match self.runs.last_mut() {
            Some((first, count)) if *first + *count == page => *count += 1,
            _ => self.runs.push((page, 1)),
        }
    }

    /// Refuses runs that are out of order or go beyond `pages`.
    pub(crate) fn check(&self, pages: u64) -> Result<(), String> {
        let mut free = 0;
        for &(first, count) in &self.runs {
            let end = first.checked_add(count).filter(|end| *end <= pages);
            match end {
                Some(end) if first >= free && count > 0 => free = end + 1,
                _ => return Err(format!("a run of {count} pages at page {first} of {pages}")),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn neighbours_become_one_run() {
        let mut index = PageIndex::default();
        for page in [0, 1, 2, 9, 10, 20] {
            index.push(page);
        }
        assert_eq!(index.runs, [(0, 3), (9, 2), (20, 1)]);
        assert_eq!(index.pages(), 6);
        index.check(21).unwrap();
        assert!(index.check(20).is_err());
    }

    #[test]
    fn runs_out_of_order_or_overlapping_are_refused() {
        for runs in [
            vec![(5, 1), (3, 1)],
            vec![(5, 2), (6, 1)],
            vec![(5, 0)],
            vec![(u64::MAX, 2)],
        ] {
            let index = PageIndex { runs, checksum: 0 };
            assert!(index.check(100).is_err(), "{index:?}");
        }
    }

    proptest! {
        #[test]
        fn pages_become_runs_and_runs_the_same_pages(pages in prop::collection::btree_set(0..300u64, 0..100)) {
            let mut index = PageIndex::default();
            pages.iter().for_each(|page| index.push(*page));
            prop_assert!(index.check(300).is_ok());
            prop_assert_eq!(index.pages(), pages.len() as u64);
            prop_assert!(index.numbers().eq(pages));
        }
    }
}
