//! The allow-list: offences that are known, each with the reason for leaving it.
//!
//! Input: `xtask/tidy.toml` and what the rules found. Output: the offences that nothing excuses, and an
//! offence for each entry that excuses nothing any more, names no rule or gives no reason.

use anyhow::{Context, Result};
use serde::Deserialize;
use toml::Spanned;

use super::rule::{Offence, Rule, within};

/// Where the allow-list is, relative to the root.
pub(crate) const PATH: &str = "xtask/tidy.toml";
/// Name under which offences of the list itself are shown.
pub(crate) const NAME: &str = "allow-list";

/// The allow-list.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct AllowList {
    #[serde(default)]
    allow: Vec<Entry>,
}

/// Excuses all offences against one rule in one file or folder.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    rule: Spanned<String>,
    /// A file, or a folder with all that is below it.
    path: String,
    #[serde(default)]
    reason: String,
}

impl AllowList {
    /// Reads a list.
    ///
    /// # Errors
    /// When it is no TOML or has other fields than `rule`, `path` and `reason`.
    pub(crate) fn parse(text: &str) -> Result<AllowList> {
        toml::from_str(text).with_context(|| format!("parse {PATH}"))
    }

    /// Takes away what is excused and adds what is wrong with the list; each with the name of its rule.
    pub(crate) fn apply<'a>(
        &self,
        text: &str,
        rules: &'a [Rule],
        found: Vec<(&'a str, Offence)>,
    ) -> Vec<(&'a str, Offence)> {
        let mut used = vec![false; self.allow.len()];
        let mut left = Vec::new();
        for (rule, offence) in found {
            let mut excused = false;
            for (at, entry) in self.allow.iter().enumerate() {
                if entry.rule.get_ref() == rule && within(&offence.path, &entry.path) {
                    used[at] = true;
                    excused = true;
                }
            }
            if !excused {
                left.push((rule, offence));
            }
        }
        for (entry, used) in self.allow.iter().zip(used) {
            let line = text[..entry.rule.span().start].matches('\n').count() + 1;
            let rule = entry.rule.get_ref();
            let mut wrong = |what: String, remedy: &str| {
                left.push((NAME, Offence::new(PATH, line, what, remedy)));
            };
            if !rules.iter().any(|known| known.name == rule) {
                wrong(
                    format!("there is no rule `{rule}`"),
                    "mend its name or remove the entry",
                );
            } else if !used {
                wrong(
                    format!("nothing in {} breaks `{rule}` any more", entry.path),
                    "remove the entry",
                );
            }
            if entry.reason.trim().is_empty() {
                wrong(
                    format!("`{rule}` in {} has no reason", entry.path),
                    "say why it stays",
                );
            }
        }
        left
    }
}

/// Entries that excuse these offences, one for each file and rule, to be given their reasons.
pub(crate) fn entries(found: &[(&str, Offence)]) -> String {
    let mut text = String::new();
    let mut last = None;
    for (rule, offence) in found.iter().filter(|(rule, _)| *rule != NAME) {
        if last.replace((rule, &offence.path)) == Some((rule, &offence.path)) {
            continue;
        }
        text.push_str(&format!(
            "[[allow]] # {}\nrule = {:?}\npath = {:?}\nreason = \"\"\n\n",
            offence.what, rule, offence.path
        ));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULES: [Rule; 1] = [Rule {
        name: "length",
        why: "",
        check: |_| Vec::new(),
    }];

    fn apply(list: &str, paths: &[&str]) -> Vec<String> {
        let found = paths
            .iter()
            .map(|path| ("length", Offence::new(path, 1, "long", "cut")));
        let left = AllowList::parse(list)
            .unwrap()
            .apply(list, &RULES, found.collect());
        left.iter()
            .map(|(rule, found)| format!("{}:{} {rule} {}", found.path, found.line, found.what))
            .collect()
    }

    #[test]
    fn an_entry_excuses_a_file_or_a_folder() {
        let list = "[[allow]]\nrule = \"length\"\npath = \"a/b.rs\"\nreason = \"r\"\n\n\
                    [[allow]]\nrule = \"length\"\npath = \"c\"\nreason = \"r\"\n";
        assert_eq!(
            apply(list, &["a/b.rs", "c/d/e.rs", "a/c.rs"]),
            ["a/c.rs:1 length long"]
        );
    }

    #[test]
    fn an_entry_that_excuses_nothing_is_an_offence() {
        let list = "[[allow]]\nrule = \"length\"\npath = \"a\"\nreason = \"r\"\n";
        assert_eq!(
            apply(list, &[]),
            ["xtask/tidy.toml:2 allow-list nothing in a breaks `length` any more"]
        );
    }

    #[test]
    fn an_entry_says_why_and_names_a_rule() {
        let list = "[[allow]]\nrule = \"length\"\npath = \"a.rs\"\n[[allow]]\nrule = \"lenght\"\npath = \"b\"\nreason = \"r\"\n";
        assert_eq!(
            apply(list, &["a.rs"]),
            [
                "xtask/tidy.toml:2 allow-list `length` in a.rs has no reason",
                "xtask/tidy.toml:5 allow-list there is no rule `lenght`"
            ]
        );
        assert!(AllowList::parse("[[allow]]\nrule = \"a\"\npath = \"b\"\nwhy = \"c\"\n").is_err());
    }

    #[test]
    fn entries_can_be_pasted() {
        let found = ["a.rs", "a.rs", "b.rs"].map(|path| ("length", Offence::new(path, 1, "long", "cut")));
        let list = entries(&found).replace("reason = \"\"", "reason = \"r\"");
        assert_eq!(list.matches("[[allow]]").count(), 2);
        assert!(apply(&list, &["a.rs", "b.rs"]).is_empty());
    }
}
