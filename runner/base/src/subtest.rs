//! Parts of a test that have results of their own: those of `t:subtest`, and of a guest's (K)TAP output.
//!
//! Input: what the test's thread saw. Output: a tree of [`Subtest`]s, and its [`results`]. Not here: how a
//! guest's output is read.

use serde::{Deserialize, Serialize};

use crate::outcome::TestStatus;

/// Between the names of a path.
const SEPARATOR: &str = " / ";
/// Most failures that a message names.
const NAMED: usize = 10;

/// A part of a test.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Subtest {
    /// Its name, by itself.
    pub name: String,
    /// How it ended.
    pub status: TestStatus,
    /// What it has to say itself: its failure, or why it was skipped. None for one that failed because one of
    /// its own parts did.
    pub message: Option<String>,
    /// Nanoseconds; 0 where nobody measured.
    #[serde(default)]
    pub duration_ns: u64,
    /// Line of the test file: of the failure, else of the call.
    #[serde(default)]
    pub line: Option<u32>,
    /// Its own parts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub subtests: Vec<Subtest>,
}

impl Subtest {
    /// A part that has nothing to say.
    pub fn new(name: impl Into<String>, status: TestStatus) -> Subtest {
        Subtest {
            name: name.into(),
            status,
            message: None,
            duration_ns: 0,
            line: None,
            subtests: Vec::new(),
        }
    }

    /// Whether it is a result by itself: it has no parts, or something to say beside theirs.
    fn is_result(&self) -> bool {
        self.subtests.is_empty() || self.message.is_some()
    }
}

/// Calls `each` with the path and the part for all of them that are results: those without parts of their
/// own, and those that have something to say themselves. In the order of their ends.
pub fn results(subtests: &[Subtest], each: &mut dyn FnMut(&str, &Subtest)) {
    walk(subtests, "", each);
}

fn walk(subtests: &[Subtest], above: &str, each: &mut dyn FnMut(&str, &Subtest)) {
    for subtest in subtests {
        let path = match above {
            "" => subtest.name.clone(),
            above => format!("{above}{SEPARATOR}{}", subtest.name),
        };
        walk(&subtest.subtests, &path, each);
        if subtest.is_result() {
            each(&path, subtest);
        }
    }
}

/// Whether one of them counts against the run.
pub fn has_failed(subtests: &[Subtest]) -> bool {
    subtests
        .iter()
        .any(|subtest| subtest.status.counts_against_the_run())
}

/// Counts of results.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SubtestCounts {
    /// All of them.
    pub all: usize,
    /// Those that count against the run.
    pub failed: usize,
    /// Those that were skipped.
    pub skipped: usize,
    /// Those that failed as expected.
    pub xfailed: usize,
}

impl SubtestCounts {
    /// Counts these results.
    pub fn of(subtests: &[Subtest]) -> SubtestCounts {
        let mut counts = SubtestCounts::default();
        results(subtests, &mut |_, subtest| {
            counts.all += 1;
            match subtest.status {
                TestStatus::Failed | TestStatus::Xpassed => counts.failed += 1,
                TestStatus::Skipped => counts.skipped += 1,
                TestStatus::Xfailed => counts.xfailed += 1,
                TestStatus::Passed => {}
            }
        });
        counts
    }

    /// Adds others.
    pub fn add(&mut self, other: SubtestCounts) {
        self.all += other.all;
        self.failed += other.failed;
        self.skipped += other.skipped;
        self.xfailed += other.xfailed;
    }
}

/// What a test says whose parts failed: how many, and the first of them by their paths; none if none failed.
pub fn failure_message(subtests: &[Subtest]) -> Option<String> {
    if !has_failed(subtests) {
        return None;
    }
    let counts = SubtestCounts::of(subtests);
    let mut message = format!("{} of {} subtest(s) failed", counts.failed, counts.all);
    let mut left = NAMED;
    results(subtests, &mut |path, subtest| {
        if subtest.status.counts_against_the_run() && left > 0 {
            left -= 1;
            let why = subtest
                .message
                .as_deref()
                .and_then(|message| message.lines().next());
            let why = why.map(|why| format!(": {why}")).unwrap_or_default();
            message.push_str(&format!("\n  {}{why}", path.replace('\n', " ")));
        }
    });
    if counts.failed > NAMED {
        message.push_str(&format!("\n  … and {} more", counts.failed - NAMED));
    }
    Some(message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(name: &str, status: TestStatus, message: Option<&str>, subtests: Vec<Subtest>) -> Subtest {
        Subtest {
            message: message.map(str::to_owned),
            subtests,
            ..Subtest::new(name, status)
        }
    }

    #[test]
    fn a_part_with_parts_is_a_result_only_if_it_says_something() {
        use TestStatus::{Failed, Passed, Skipped};
        let inner = vec![
            part("x", Passed, None, vec![]),
            part("y", Failed, Some("no\n  left: 1"), vec![]),
        ];
        let tree = [
            part("quiet", Failed, None, inner.clone()),
            part("loud", Failed, Some("and more"), inner),
            part("none", Skipped, Some("off"), vec![]),
        ];
        let mut seen = Vec::new();
        results(&tree, &mut |path, _| seen.push(path.to_owned()));
        assert_eq!(
            seen,
            ["quiet / x", "quiet / y", "loud / x", "loud / y", "loud", "none"]
        );
        let counts = SubtestCounts {
            all: 6,
            failed: 3,
            skipped: 1,
            xfailed: 0,
        };
        assert_eq!(SubtestCounts::of(&tree), counts);
        let message = "3 of 6 subtest(s) failed\n  quiet / y: no\n  loud / y: no\n  loud: and more";
        assert_eq!(failure_message(&tree).as_deref(), Some(message));
        assert_eq!(failure_message(&tree[2..]), None);
    }

    #[test]
    fn a_message_names_the_first_and_counts_the_rest() {
        let many: Vec<_> = (0..300)
            .map(|n| part(&format!("case {n}"), TestStatus::Failed, None, vec![]))
            .collect();
        let message = failure_message(&many).expect("a failure");
        assert!(
            message.starts_with("300 of 300 subtest(s) failed\n  case 0\n"),
            "{message}"
        );
        assert!(message.ends_with("\n  case 9\n  … and 290 more"), "{message}");
    }
}
