//! The order of files and of tests in them: as they are written, failed ones first, or shuffled.
//!
//! Input: flags, and the last run. Output: files and tests in their order. Not here: which of them run.

use std::path::Path;
use std::sync::Arc;

use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::last_run::LastRun;
use crate::discover::TestFile;

/// The order of a run. The default is that of paths, and of tests in their files.
#[derive(Debug, Clone, Default)]
pub struct Order {
    /// What decides a shuffled order.
    pub shuffle: Option<u64>,
    /// The run whose failures come first.
    pub failed_first: Option<Arc<LastRun>>,
}

impl Order {
    /// Puts files in order.
    pub fn files(&self, files: &mut [TestFile]) {
        self.sort(
            files,
            |file| file.shown.clone(),
            |last, file| last.has_failed_in(&file.path),
        );
    }

    /// Puts the tests of a file in order; `name` is a test's.
    pub fn tests<T>(&self, file: &Path, shown: &str, tests: &mut [T], name: impl Fn(&T) -> String) {
        self.sort(
            tests,
            |test| format!("{shown}\0{}", name(test)),
            |last, test| last.has_failed(file, &name(test)),
        );
    }

    /// A shuffled order is that of hashes, so that a test keeps its place among the others when some go.
    fn sort<T>(&self, items: &mut [T], key: impl Fn(&T) -> String, failed: impl Fn(&LastRun, &T) -> bool) {
        if let Some(seed) = self.shuffle {
            items.sort_by_cached_key(|item| xxh3_64_with_seed(key(item).as_bytes(), seed));
        }
        if let Some(last) = &self.failed_first {
            items.sort_by_key(|item| !failed(last, item));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shuffled(seed: u64, names: &[&'static str]) -> Vec<&'static str> {
        let order = Order {
            shuffle: Some(seed),
            failed_first: None,
        };
        let mut names = names.to_vec();
        order.tests("/p/a".as_ref(), "a", &mut names, |name| (*name).to_owned());
        names
    }

    #[test]
    fn a_seed_stands_for_an_order_that_outlives_other_tests() {
        let names = ["a", "b", "c", "d", "e", "f", "g", "h"];
        let one = shuffled(1, &names);
        assert_eq!(one, shuffled(1, &names));
        assert!((2..10).any(|seed| shuffled(seed, &names) != one));
        let fewer: Vec<_> = one.iter().copied().filter(|name| *name != "d").collect();
        assert_eq!(shuffled(1, &["a", "b", "c", "e", "f", "g", "h"]), fewer);
    }
}
