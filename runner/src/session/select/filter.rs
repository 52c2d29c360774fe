//! What tests are chosen by that is true of them whatever else is chosen: names, words, metadata.
//!
//! Input: `--filter`, `-k`, `--tag`, `--tag-meta` and their opposites. Output: yes or no for a test's file,
//! name and metadata. Not here: places, partitions and earlier runs.

use std::collections::BTreeMap;

use super::Expression;

/// Decides which tests run. The default wants all of them.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct NameFilter {
    /// The name of the only test that is wanted.
    pub test: Option<String>,
    /// Must occur in the test's name or its file's path, case and all.
    pub substring: Option<String>,
    /// Must hold for the test's name and its file's path.
    pub expression: Option<Expression>,
    /// Metadata that must be there: one value of those given for a key, for each key.
    pub with: Vec<KeyValue>,
    /// Metadata that must not be there, whatever else is.
    pub without: Vec<KeyValue>,
    /// Run tests that call themselves slow, too.
    pub include_slow: bool,
}

/// The key under which a test's tags are.
pub const TAGS: &str = "tags";
/// Another spelling of [`TAGS`].
pub const TAG: &str = "tag";

/// A key of a test's metadata and a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyValue {
    /// The key.
    pub key: String,
    /// The value as text.
    pub value: String,
}

impl KeyValue {
    /// A tag.
    pub fn tag(tag: String) -> KeyValue {
        KeyValue {
            key: TAGS.to_owned(),
            value: tag,
        }
    }
}

impl std::str::FromStr for KeyValue {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once('=') {
            Some((key, value)) if !key.trim().is_empty() => Ok(KeyValue {
                key: match key.trim() {
                    TAG => TAGS,
                    key => key,
                }
                .to_owned(),
                value: value.trim().to_owned(),
            }),
            _ => Err("expected KEY=VALUE".to_owned()),
        }
    }
}

/// A test's metadata as text: the values of each key.
pub type Labels = BTreeMap<String, Vec<String>>;

impl NameFilter {
    /// Wants the tests of this name and no others, even if they call themselves slow.
    pub fn of_test(name: &str) -> NameFilter {
        NameFilter {
            test: Some(name.to_owned()),
            include_slow: true,
            ..NameFilter::default()
        }
    }

    /// Whether the test `name` of the file at `path` (as reports show it) is wanted.
    pub fn wants(&self, path: &str, name: &str, labels: &Labels) -> bool {
        self.wants_name(path, name) && self.wants_labels(labels)
    }

    fn wants_labels(&self, labels: &Labels) -> bool {
        let has = |wanted: &KeyValue| {
            let values = labels.get(&wanted.key);
            values.is_some_and(|values| values.contains(&wanted.value))
        };
        let one_of_its_key = |wanted: &KeyValue| {
            self.with
                .iter()
                .any(|other| other.key == wanted.key && has(other))
        };
        !self.without.iter().any(has) && self.with.iter().all(one_of_its_key)
    }

    fn wants_name(&self, path: &str, name: &str) -> bool {
        let test = self.test.as_ref().is_none_or(|test| test == name);
        let substring = self
            .substring
            .as_ref()
            .is_none_or(|s| path.contains(s) || name.contains(s));
        let expression = self.expression.as_ref().is_none_or(|e| {
            let (path, name) = (path.to_lowercase(), name.to_lowercase());
            e.holds(&|word| path.contains(word) || name.contains(word))
        });
        test && substring && expression
    }

    /// Whether it leaves anything out at all.
    pub fn is_active(&self) -> bool {
        self.test.is_some()
            || self.substring.is_some()
            || self.expression.is_some()
            || !self.with.is_empty()
            || !self.without.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_substring_looks_at_name_and_path() {
        let filter = |s: &str| NameFilter {
            substring: Some(s.into()),
            ..NameFilter::default()
        };
        let none = Labels::new();
        assert!(filter("net.test").wants("tests/net.test.lua", "x", &none));
        assert!(filter("Boot").wants("a", "Boot is fast", &none));
        assert!(!filter("boot").wants("a", "Boot is fast", &none));
        assert!(NameFilter::default().wants("a", "b", &none) && !NameFilter::default().is_active());
    }

    #[test]
    fn one_test_is_found_by_its_whole_name() {
        let filter = NameFilter::of_test("boots");
        let none = Labels::new();
        assert!(filter.is_active() && filter.include_slow);
        assert!(filter.wants("a", "boots", &none));
        assert!(!filter.wants("a", "boots twice", &none) && !filter.wants("boots", "a", &none));
    }

    #[test]
    fn metadata_is_or_within_a_key_and_and_across_keys() {
        let labels: Labels = [
            ("tags", vec!["net", "fast"]),
            ("spec", vec!["4.2"]),
            ("n", vec!["1"]),
        ]
        .map(|(key, values)| (key.to_owned(), values.into_iter().map(str::to_owned).collect()))
        .into();
        let parse = |texts: &[&str]| {
            texts
                .iter()
                .map(|text| text.parse().expect("KEY=VALUE"))
                .collect()
        };
        for (with, without, wanted) in [
            (&["tags=net"][..], &[][..], true),
            (&["tags=disk"], &[], false),
            (&["tags=disk", "tags=fast"], &[], true),
            (&["tags=net", "spec=4.2"], &[], true),
            (&["tags=net", "spec=5"], &[], false),
            (&["tags=net", "spec=5", "spec=4.2", "n = 1"], &[], true),
            (&["tags=net"], &["tags=fast"], false),
            (&[], &["spec=4.2"], false),
            (&[], &["spec=5", "other=x"], true),
            (&["other=x"], &[], false),
        ] {
            let filter = NameFilter {
                with: parse(with),
                without: parse(without),
                ..NameFilter::default()
            };
            assert!(filter.is_active());
            assert_eq!(filter.wants("a", "b", &labels), wanted, "{with:?} {without:?}");
        }
        assert!("=x".parse::<KeyValue>().is_err() && "x".parse::<KeyValue>().is_err());
    }
}
