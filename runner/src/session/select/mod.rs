//! Which tests of a run are wanted.
//!
//! Input: what the command line, the configuration and an earlier run say. Output: a [`Selection`], which
//! says yes or no to each test. Not here: reading files; which tests a file has is known only once its own
//! code has run.
//!
//! ```text
//! mod         Selection, all together
//! filter      names, words, tags and other metadata
//! expression  -k
//! only        FILE::TEST and FILE:LINE
//! partition   --partition
//! ```

mod expression;
mod filter;
pub mod only;
mod partition;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub use expression::{Expression, ExpressionError};
pub use filter::{KeyValue, Labels, NameFilter, TAG, TAGS};
pub use only::Only;
pub use partition::{Deal, Partition};

use super::last_run::LastRun;

/// Which tests are wanted: those for which all of it holds. The default wants all.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Selection {
    /// What holds for tests of all files.
    pub filter: NameFilter,
    /// Of these files, by their absolute paths, the tests that are named one by one.
    pub only: BTreeMap<PathBuf, Vec<Only>>,
    /// The run whose failures are run again.
    pub again: Option<Arc<LastRun>>,
    /// The part that this run is.
    pub partition: Option<Partition>,
}

impl From<NameFilter> for Selection {
    fn from(filter: NameFilter) -> Selection {
        Selection {
            filter,
            ..Selection::default()
        }
    }
}

/// A test that may be wanted.
#[derive(Debug, Clone, Copy)]
pub struct Candidate<'a> {
    /// Its file, absolute.
    pub path: &'a Path,
    /// Its file as reports show it.
    pub shown: &'a str,
    /// Its name.
    pub name: &'a str,
    /// Its metadata.
    pub labels: &'a Labels,
    /// First and last line of its `test(…)` call, if that is in the file itself.
    pub lines: Option<(u32, u32)>,
}

impl Selection {
    /// Wants the tests of this name and no others, even if they call themselves slow.
    pub fn of_test(name: &str) -> Selection {
        NameFilter::of_test(name).into()
    }

    /// Whether the test is wanted, whatever the partition says.
    pub fn chooses(&self, test: &Candidate<'_>) -> bool {
        let only = self.only.get(test.path);
        self.filter.wants(test.shown, test.name, test.labels)
            && only.is_none_or(|only| only.iter().any(|only| only.is(test.name, test.lines)))
            && self
                .again
                .as_ref()
                .is_none_or(|last| last.has_failed(test.path, test.name))
    }

    /// Whether a test that is chosen, the `number`th of the run as far as anybody can say, is in the run's
    /// part.
    pub fn takes(&self, test: &Candidate<'_>, number: impl FnOnce() -> usize) -> bool {
        let partition = self.partition.as_ref();
        partition.is_none_or(|partition| partition.takes(test.shown, test.name, number()))
    }

    /// Whether it leaves anything out at all.
    pub fn is_active(&self) -> bool {
        self.filter.is_active() || !self.only.is_empty() || self.again.is_some() || self.partition.is_some()
    }
}
