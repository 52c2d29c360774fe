//! Why no test ran: which selection left them all out, and what was probably meant.
//!
//! Input: the filter, and the tests of the run's files. Output: a message. Not here: files that have no test,
//! each of which is reported by itself.

use provium_base::nearest::nearest;

use super::progress::Found;
use super::select::{Expression, KeyValue, NameFilter, Selection, TAGS};

/// Most names of a kind that are listed.
const LISTED: usize = 8;

/// A test and its file as reports name it.
pub type Seen = (String, Found);

/// Why a run of so many files ran no test.
pub fn explain(selection: &Selection, files: usize, tests: &[Seen]) -> String {
    if tests.is_empty() {
        return format!("no test ran: there is none in {files} file(s)");
    }
    let mut parts = parts(&selection.filter);
    let mut further = |there: bool, flag: &str| {
        // What it leaves out is known elsewhere.
        parts.extend(there.then(|| Part {
            flag: flag.to_owned(),
            filter: NameFilter::default(),
        }));
    };
    further(selection.again.is_some(), "--rerun-failed");
    further(!selection.only.is_empty(), "the tests' names and lines");
    let alone = |part: &&Part| {
        let wants = |(path, test): &Seen| part.filter.wants(path, &test.name, &test.labels);
        !tests.iter().any(wants)
    };
    let emptied: Vec<_> = parts.iter().filter(alone).collect();
    let flags = |parts: &mut dyn Iterator<Item = &Part>| {
        let flags: Vec<_> = parts.map(|part| part.flag.as_str()).collect();
        flags.join(" and ")
    };
    let (by, together) = match emptied.is_empty() {
        true if parts.len() == 1 => (flags(&mut parts.iter()), ""),
        true => (flags(&mut parts.iter()), " together"),
        false => (flags(&mut emptied.iter().copied()), ""),
    };
    let hints: Vec<_> = emptied.iter().filter_map(|part| hint(part, tests)).collect();
    let hints = match hints.is_empty() {
        true => String::new(),
        false => format!("; {}", hints.join("; ")),
    };
    format!(
        "no test ran: none of the {} test(s) in {files} file(s) is selected by {by}{together}{hints}",
        tests.len()
    )
}

/// One flag of a filter.
struct Part {
    /// The flag as one would write it.
    flag: String,
    /// A filter with nothing but this.
    filter: NameFilter,
}

fn parts(filter: &NameFilter) -> Vec<Part> {
    let mut parts = Vec::new();
    let mut part = |flag: String, filter: NameFilter| parts.push(Part { flag, filter });
    if let Some(test) = &filter.test {
        part(format!("the name `{test}`"), NameFilter::of_test(test));
    }
    if let Some(text) = &filter.substring {
        let only = NameFilter {
            substring: Some(text.clone()),
            ..NameFilter::default()
        };
        part(format!("--filter {text:?}"), only);
    }
    if let Some(expression) = &filter.expression {
        let only = NameFilter {
            expression: Some(expression.clone()),
            ..NameFilter::default()
        };
        part(format!("-k \"{expression}\""), only);
    }
    if !filter.with.is_empty() {
        let only = NameFilter {
            with: filter.with.clone(),
            ..NameFilter::default()
        };
        part(labels("", &filter.with), only);
    }
    if !filter.without.is_empty() {
        let only = NameFilter {
            without: filter.without.clone(),
            ..NameFilter::default()
        };
        part(labels("no-", &filter.without), only);
    }
    parts
}

/// Labels as the flags that ask for them.
fn labels(no: &str, labels: &[KeyValue]) -> String {
    let flag = |label: &KeyValue| match label.key.as_str() {
        TAGS => format!("--{no}tag {}", label.value),
        key => format!("--{no}tag-meta {key}={}", label.value),
    };
    labels.iter().map(flag).collect::<Vec<_>>().join(" ")
}

/// What was probably meant by a part that selects nothing.
fn hint(part: &Part, tests: &[Seen]) -> Option<String> {
    let filter = &part.filter;
    let names = || tests.iter().map(|(_, test)| test.name.as_str());
    if let Some(name) = &filter.test {
        return nearest(name, names()).map(meant);
    }
    // A word of a name is as good as the name: both are looked in for parts.
    let words = || {
        let of_paths = tests.iter().flat_map(|(path, _)| path.split(['/', '.']));
        names()
            .chain(names().flat_map(str::split_whitespace))
            .chain(of_paths)
    };
    if let Some(text) = &filter.substring {
        return Some(nearest(text, words()).map_or_else(|| list("the names are", names()), meant));
    }
    if let Some(expression) = &filter.expression {
        let near = |word: &str| {
            let there = |(path, test): &Seen| {
                path.to_lowercase().contains(word) || test.name.to_lowercase().contains(word)
            };
            let missing = !tests.iter().any(there);
            missing.then(|| nearest(word, words())).flatten()
        };
        let mut mistyped = Vec::new();
        expression.words(&mut mistyped);
        return mistyped.into_iter().find_map(near).map(meant);
    }
    for wanted in &filter.with {
        let values = || {
            let of_key = |(_, test): &'_ Seen| test.labels.get(&wanted.key).cloned().unwrap_or_default();
            tests.iter().flat_map(of_key).collect::<Vec<String>>()
        };
        let there = values();
        if there.contains(&wanted.value) {
            continue;
        }
        let (key, of_values) = match wanted.key.as_str() {
            TAGS => ("tag", "the tags are"),
            key => (key, "its values are"),
        };
        if there.is_empty() {
            return Some(format!("no test has a `{key}`"));
        }
        let there = there.iter().map(String::as_str);
        return Some(match nearest(&wanted.value, there.clone()) {
            Some(near) => meant(near),
            None => list(of_values, there),
        });
    }
    None
}

fn meant(near: &str) -> String {
    format!("did you mean `{near}`?")
}

/// Names in their order, each once, the first few of them.
fn list<'a>(what: &str, names: impl Iterator<Item = &'a str>) -> String {
    let names: std::collections::BTreeSet<_> = names.collect();
    let more = match names.len() {
        count if count > LISTED => format!(" and {} more", count - LISTED),
        _ => String::new(),
    };
    let shown: Vec<_> = names
        .into_iter()
        .take(LISTED)
        .map(|name| format!("`{name}`"))
        .collect();
    format!("{what} {}{more}", shown.join(", "))
}

impl Expression {
    /// The words that are to occur, in the order they stand there; not those behind `not`.
    fn words<'a>(&'a self, into: &mut Vec<&'a str>) {
        match self {
            Expression::Word(word) => into.push(word),
            Expression::Not(_) => {}
            Expression::And(a, b) | Expression::Or(a, b) => {
                a.words(into);
                b.words(into);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tests() -> Vec<Seen> {
        let test = |path: &str, name: &str, tags: &[&str]| {
            let tags = tags.iter().map(|tag| (*tag).to_owned()).collect();
            let found = Found {
                labels: [(TAGS.to_owned(), tags)].into(),
                ..Found::named(name)
            };
            (path.to_owned(), found)
        };
        vec![
            test("tests/net.test.lua", "ping answers", &["net", "fast"]),
            test("tests/disk.test.lua", "boots from a disk", &["disk"]),
        ]
    }

    #[test]
    fn the_flag_that_emptied_the_run_is_named_with_what_was_meant() {
        let said = |filter: NameFilter| explain(&filter.into(), 2, &tests());
        let none = "no test ran: none of the 2 test(s) in 2 file(s) is selected by ";
        let pair = |text: &str| text.parse::<KeyValue>().expect("KEY=VALUE");
        let default = NameFilter::default;
        let cases = [
            (
                NameFilter {
                    substring: Some("pnig".into()),
                    ..default()
                },
                "--filter \"pnig\"; did you mean `ping`?",
            ),
            (
                NameFilter {
                    substring: Some("zzzzzz".into()),
                    ..default()
                },
                "--filter \"zzzzzz\"; the names are `boots from a disk`, `ping answers`",
            ),
            (
                NameFilter {
                    expression: Some("answers and dsik".parse().expect("-k")),
                    ..default()
                },
                "-k \"answers and dsik\"; did you mean `disk`?",
            ),
            (
                NameFilter {
                    expression: Some("answers and boots".parse().expect("-k")),
                    ..default()
                },
                "-k \"answers and boots\"",
            ),
            (
                NameFilter {
                    with: vec![pair("tags=nte")],
                    ..default()
                },
                "--tag nte; did you mean `net`?",
            ),
            (
                NameFilter {
                    with: vec![pair("tags=zzzzzz")],
                    ..default()
                },
                "--tag zzzzzz; the tags are `disk`, `fast`, `net`",
            ),
            (
                NameFilter {
                    with: vec![pair("area=fs")],
                    ..default()
                },
                "--tag-meta area=fs; no test has a `area`",
            ),
            (
                NameFilter {
                    without: vec![pair("tags=net"), pair("tags=disk")],
                    ..default()
                },
                "--no-tag net --no-tag disk",
            ),
            (
                NameFilter {
                    substring: Some("ping".into()),
                    with: vec![pair("tags=disk")],
                    ..default()
                },
                "--filter \"ping\" and --tag disk together",
            ),
            (
                NameFilter::of_test("ping answer"),
                "the name `ping answer`; did you mean `ping answers`?",
            ),
        ];
        for (filter, expected) in cases {
            assert_eq!(said(filter), format!("{none}{expected}"));
        }
        assert_eq!(
            explain(&Selection::default(), 3, &[]),
            "no test ran: there is none in 3 file(s)"
        );
    }
}
