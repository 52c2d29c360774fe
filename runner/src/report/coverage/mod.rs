//! Coverage: which ids of a specification have tests, and what came of them.
//!
//! Input: tests with their metadata, from a run or from an event stream. Output: counts for each value of a
//! key, as text, as JSON and as a page. Not here: lines of code.

mod html;
mod read;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::sync::Arc;

use parking_lot::Mutex;
use provium_base::events::{Event, Sink};
use provium_base::meta::{self, Meta};
use provium_base::outcome::TestStatus;
use serde::Serialize;

pub use read::{ReadError, read};

use super::{Output, text};

/// What tests without the key are called.
const UNSET: &str = "<unset>";

/// What came of the tests of one id.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Tally {
    /// Tests that passed.
    pub passed: usize,
    /// Tests that failed.
    pub failed: usize,
    /// Tests that were skipped, or failed as expected.
    pub skipped: usize,
}

impl Tally {
    fn add(&mut self, came_to: CameTo) {
        *match came_to {
            CameTo::Passed => &mut self.passed,
            CameTo::Failed => &mut self.failed,
            CameTo::Skipped => &mut self.skipped,
        } += 1;
    }

    fn shown(&self) -> String {
        let Tally {
            passed,
            failed,
            skipped,
        } = self;
        let all = passed + failed + skipped;
        format!("{all} tests ({passed} passed, {failed} failed, {skipped} skipped)")
    }
}

/// What a test came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CameTo {
    /// It passed.
    Passed,
    /// It failed, or passed unexpectedly.
    Failed,
    /// It was skipped, or failed as expected.
    Skipped,
}

impl From<TestStatus> for CameTo {
    fn from(status: TestStatus) -> CameTo {
        match status {
            TestStatus::Passed => CameTo::Passed,
            TestStatus::Failed | TestStatus::Xpassed => CameTo::Failed,
            TestStatus::Skipped | TestStatus::Xfailed => CameTo::Skipped,
        }
    }
}

/// The tests that were seen; the last result of one counts.
#[derive(Debug, Default)]
pub struct Coverage {
    tests: BTreeMap<(String, String), (Meta, CameTo)>,
}

/// The same by the values of a key.
#[derive(Debug)]
pub struct Buckets<'a> {
    by: &'a str,
    buckets: BTreeMap<&'a str, Bucket<'a>>,
    unset: Bucket<'a>,
    total: Tally,
    /// The ids that were expected and have no test that ran, if any were expected.
    missing: Option<Vec<&'a str>>,
}

/// The tests of one id.
#[derive(Debug, Default)]
struct Bucket<'a> {
    tally: Tally,
    /// Path, name, and what came of it.
    tests: Vec<(&'a str, &'a str, CameTo)>,
}

impl Coverage {
    /// Takes note of a test.
    pub fn add(&mut self, path: &str, name: &str, meta: Meta, came_to: CameTo) {
        self.tests
            .insert((path.to_owned(), name.to_owned()), (meta, came_to));
    }

    /// The tests by the values of the key, beside the ids that are expected.
    pub fn by<'a>(&'a self, key: &'a str, expected: Option<&'a [String]>) -> Buckets<'a> {
        let mut buckets = Buckets {
            by: key,
            buckets: BTreeMap::new(),
            unset: Bucket::default(),
            total: Tally::default(),
            missing: None,
        };
        for ((path, name), (meta, came_to)) in &self.tests {
            buckets.total.add(*came_to);
            let ids: BTreeSet<_> = meta::texts(meta, key).into_iter().collect();
            let note = |bucket: &mut Bucket<'a>| {
                bucket.tally.add(*came_to);
                bucket.tests.push((path, name, *came_to));
            };
            match ids.is_empty() {
                true => note(&mut buckets.unset),
                false => ids
                    .into_iter()
                    .for_each(|id| note(buckets.buckets.entry(id).or_default())),
            }
        }
        let ran = |id: &&str| {
            let bucket = buckets.buckets.get(id);
            bucket.is_some_and(|bucket| bucket.tally.passed + bucket.tally.failed > 0)
        };
        let ids = expected.map(|ids| ids.iter().map(String::as_str));
        buckets.missing = ids.map(|ids| ids.filter(|id| !ran(id)).collect());
        buckets
    }
}

impl Buckets<'_> {
    /// A line for each id, one for all that have none, the totals.
    pub fn text(&self) -> String {
        let mut out = format!("coverage by `{}`:\n", text::first_line(self.by));
        for (id, bucket) in &self.buckets {
            let _ = writeln!(out, "  {}: {}", text::first_line(id), bucket.tally.shown());
        }
        if self.unset.tally != Tally::default() {
            let _ = writeln!(out, "  {UNSET}: {}", self.unset.tally.shown());
        }
        let _ = writeln!(out, "  ---\n  total: {}", self.total.shown());
        if let Some(missing) = &self.missing {
            let _ = writeln!(out, "never ran: {} id(s)", missing.len());
            for id in missing {
                let _ = writeln!(out, "  {}", text::first_line(id));
            }
        }
        out
    }

    /// `{"buckets": {ID: {"passed", "failed", "skipped"}}, "uncategorised": {…}}`, and the ids that are
    /// `missing` where ids were expected.
    pub fn json(&self) -> String {
        #[derive(Serialize)]
        struct Json<'a> {
            buckets: BTreeMap<&'a str, Tally>,
            uncategorised: Tally,
            #[serde(skip_serializing_if = "Option::is_none")]
            missing: Option<&'a [&'a str]>,
        }
        let buckets = self.buckets.iter().map(|(id, bucket)| (*id, bucket.tally));
        let json = Json {
            buckets: buckets.collect(),
            uncategorised: self.unset.tally,
            missing: self.missing.as_deref(),
        };
        let json = serde_json::to_string_pretty(&json).expect("only string keys");
        format!("{}\n", super::json::without_commands(&json))
    }

    /// A page that needs nothing else.
    pub fn html(&self) -> String {
        html::page(self)
    }
}

/// Prints the coverage of a run at its end.
pub struct CoverageReporter {
    output: Arc<Output>,
    coverage: Mutex<Coverage>,
}

impl CoverageReporter {
    /// The key that it goes by.
    pub const KEY: &'static str = "spec";

    /// Prints to `output`.
    pub fn new(output: Arc<Output>) -> CoverageReporter {
        CoverageReporter {
            output,
            coverage: Mutex::default(),
        }
    }
}

impl Sink for CoverageReporter {
    fn event(&self, event: &Event) {
        match event {
            Event::FileEnded(end) if end.selected => {
                let mut coverage = self.coverage.lock();
                for test in &end.result.tests {
                    coverage.add(
                        &end.result.path,
                        &test.name,
                        test.meta.clone(),
                        test.status.into(),
                    );
                }
            }
            Event::RunEnded(_) => {
                let coverage = self.coverage.lock();
                self.output.write(&coverage.by(Self::KEY, None).text());
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use provium_base::meta::MetaValue;

    use super::*;

    fn coverage() -> Coverage {
        let text = |text: &str| MetaValue::Text(text.to_owned());
        let spec = |value: MetaValue| Meta::from([("spec".to_owned(), value)]);
        let mut coverage = Coverage::default();
        coverage.add("a", "one", spec(text("S-1")), CameTo::Passed);
        let both = MetaValue::Array(vec![text("S-1"), text("S-2"), text("S-2")]);
        coverage.add("a", "two", spec(both), CameTo::Failed);
        coverage.add("b", "one", spec(text("S-3")), CameTo::Skipped);
        coverage.add("b", "odd", spec(MetaValue::Int(3)), CameTo::Passed);
        coverage.add("b", "none", Meta::new(), CameTo::Failed);
        // Run again: the last result counts.
        coverage.add("b", "none", Meta::new(), CameTo::Passed);
        coverage
    }

    #[test]
    fn a_test_counts_for_each_of_its_ids_and_once_in_all() {
        let coverage = coverage();
        let expected = ["S-1", "S-3", "S-4"].map(str::to_owned);
        let buckets = coverage.by("spec", Some(&expected));
        assert_eq!(
            buckets.text(),
            "coverage by `spec`:\n\
             \x20 S-1: 2 tests (1 passed, 1 failed, 0 skipped)\n\
             \x20 S-2: 1 tests (0 passed, 1 failed, 0 skipped)\n\
             \x20 S-3: 1 tests (0 passed, 0 failed, 1 skipped)\n\
             \x20 <unset>: 2 tests (2 passed, 0 failed, 0 skipped)\n\
             \x20 ---\n\
             \x20 total: 5 tests (3 passed, 1 failed, 1 skipped)\n\
             never ran: 2 id(s)\n  S-3\n  S-4\n"
        );
        let json: serde_json::Value = serde_json::from_str(&buckets.json()).expect("JSON");
        let s_1 = serde_json::json!({"passed": 1, "failed": 1, "skipped": 0});
        assert_eq!(json["buckets"]["S-1"], s_1);
        assert_eq!(json["uncategorised"]["passed"], 2);
        assert_eq!(json["missing"], serde_json::json!(["S-3", "S-4"]));
        let json: serde_json::Value = serde_json::from_str(&coverage.by("owner", None).json()).expect("JSON");
        assert_eq!(
            (json["uncategorised"]["passed"].clone(), json.get("missing")),
            (3.into(), None)
        );
    }
}
