//! Rules about single habits.
//!
//! Input: paths, attributes and assertions. Output: offences.

use super::rule::{Offence, Rule, within};
use super::scope::Scope;
use super::tree::Tree;

/// No lock is asked whether a thread has panicked with it.
pub(crate) const POISONED_LOCKS: Rule = Rule {
    name: "poisoned-locks",
    why: "parking_lot's locks have no poison to look away from, and conditions with a deadline.",
    check: poisoned_locks,
};

/// No test is there without running.
pub(crate) const IGNORED_TESTS: Rule = Rule {
    name: "ignored-tests",
    why: "a test that is never run says nothing, and looks as if it did.",
    check: ignored_tests,
};

/// No test fails because a machine is slow.
pub(crate) const TIMED_ASSERTIONS: Rule = Rule {
    name: "timed-assertions",
    why: "nothing in the tree is timed by an assertion; benchmarks are commands.",
    check: timed_assertions,
};

fn poisoned_locks(tree: &Tree) -> Vec<Offence> {
    fn line(scope: &Scope) -> Option<usize> {
        let mut paths = scope.paths.iter();
        let poison = |segments: &[String]| {
            let end: Vec<&str> = segments.iter().rev().take(2).map(String::as_str).collect();
            end == ["into_inner", "PoisonError"]
        };
        let own = paths
            .find(|named| poison(&named.segments))
            .map(|named| named.line);
        own.into_iter().chain(scope.inline.iter().filter_map(line)).min()
    }
    let found = tree
        .rust()
        .filter_map(|(file, source)| Some((file, line(&source.scope)?)));
    found
        .map(|(file, line)| Offence::new(&file.path, line, "PoisonError::into_inner", "use parking_lot"))
        .collect()
}

fn ignored_tests(tree: &Tree) -> Vec<Offence> {
    let all = tree.rust().flat_map(|(file, source)| {
        let lines = source.ignored.iter();
        lines.map(|line| {
            Offence::new(
                &file.path,
                *line,
                "a test that never runs",
                "make it run, or delete it",
            )
        })
    });
    all.collect()
}

fn timed_assertions(tree: &Tree) -> Vec<Offence> {
    let files = tree.rust().filter(|(file, _)| !within(&file.path, "bench"));
    let all = files.flat_map(|(file, source)| {
        let remedy = "wait for what is to happen, without a limit of its own; a guard against hanging is excused with that reason";
        let lines = source.timed.iter();
        lines.map(move |line| Offence::new(&file.path, *line, "an assertion on elapsed time", remedy))
    });
    all.collect()
}

#[cfg(test)]
mod tests {
    use super::super::testing::offences;
    use super::*;

    #[test]
    fn poison_is_not_looked_away_from() {
        let found = offences(
            &POISONED_LOCKS,
            &[
                (
                    "a.rs",
                    "fn f() { m.lock().unwrap_or_else(PoisonError::into_inner); }\n",
                ),
                (
                    "b.rs",
                    "mod i {\n    fn f() { m.lock().unwrap_or_else(std::sync::PoisonError::into_inner); }\n}\n",
                ),
                (
                    "c.rs",
                    "fn f() { m.lock(); i.into_inner(); Cell::into_inner(c); }\n",
                ),
            ],
        );
        assert_eq!(
            found,
            ["a.rs:1 PoisonError::into_inner", "b.rs:2 PoisonError::into_inner"]
        );
    }

    #[test]
    fn tests_run() {
        let found = offences(
            &IGNORED_TESTS,
            &[
                ("a.rs", "#[test]\n#[ignore = \"slow\"]\nfn t() {}\n"),
                ("b.rs", "// #[ignore]\n#[test]\nfn ignore() { v[ignore] }\n"),
            ],
        );
        assert_eq!(found, ["a.rs:2 a test that never runs"]);
    }

    #[test]
    fn time_is_not_asserted() {
        let slow = "#[test]\nfn t() {\n    assert!(\n        start.elapsed() <= LIMIT,\n        \"slow\"\n    );\n}\n";
        let fine =
            "fn t() {\n    assert!(start.elapsed() > LIMIT);\n    while start.elapsed() < LIMIT {}\n}\n";
        let found = offences(
            &TIMED_ASSERTIONS,
            &[("a.rs", slow), ("b.rs", fine), ("bench/src/c.rs", slow)],
        );
        assert_eq!(found, ["a.rs:3 an assertion on elapsed time"]);
    }
}
