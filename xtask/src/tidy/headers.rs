//! Rules about the comment that a module opens with.
//!
//! Input: headers. Output: offences. Not here: documentation of items, whose presence the compiler checks.

use super::rule::{Offence, Rule};
use super::tree::{Tree, TreeFile};

/// Every module says what it is.
pub(crate) const MODULE_HEADERS: Rule = Rule {
    name: "module-headers",
    why: "who opens a file learns from its first line whether it is the right one.",
    check: module_headers,
};

/// Every module says what goes in and what comes out, in these words.
pub(crate) const HEADER_WORDS: Rule = Rule {
    name: "header-words",
    why: "one form for all headers lets a reader find what a module takes, gives and leaves to others.",
    check: header_words,
};

/// Parts of a header.
const WORDS: [&str; 2] = ["Input:", "Output:"];
/// Words that stood for [`WORDS`] and `Not here:` once.
const OLD: [&str; 3] = ["Enters:", "Leaves:", "Absent on purpose"];
/// Lines, without tests and header, up to which a module is seen through at a glance.
const SMALL: usize = 60;

fn module_headers(tree: &Tree) -> Vec<Offence> {
    let without = |file: &&TreeFile| file.rust.as_ref().is_some_and(|source| source.header.is_empty());
    let files = tree.files.iter().filter(without);
    files
        .map(|file| {
            Offence::new(
                &file.path,
                1,
                "no `//!` comment at the top",
                "say in a line what the module is",
            )
        })
        .collect()
}

fn header_words(tree: &Tree) -> Vec<Offence> {
    let mut found = Vec::new();
    for (file, source) in tree.rust() {
        let at = |word: &str| source.header.iter().position(|line| line.contains(word));
        if let Some((word, at)) = OLD.iter().find_map(|word| Some((word, at(word)?))) {
            let what = format!("`{word}` in the header");
            let remedy = "write Input:, Output:, Not here:";
            found.push(Offence::new(&file.path, at + 1, what, remedy));
            continue;
        }
        let lines = file.text.lines().count();
        let lines = lines.saturating_sub(source.test_lines + source.header.len());
        if file.test || lines <= SMALL || source.header.is_empty() {
            continue;
        }
        let missing: Vec<_> = WORDS.into_iter().filter(|word| at(word).is_none()).collect();
        if !missing.is_empty() {
            let what = format!("no `{}` in the header", missing.join("` and `"));
            let remedy = "say what goes in, what comes out, and what is left to others (Not here:)";
            found.push(Offence::new(&file.path, 1, what, remedy));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::super::testing::offences;
    use super::*;

    #[test]
    fn a_module_has_a_header() {
        let found = offences(
            &MODULE_HEADERS,
            &[
                ("a.rs", "//! A.\nfn f() {}\n"),
                ("b.rs", "// B.\nfn f() {}\n"),
                ("c.rs", "/// C.\nfn f() {}\n"),
            ],
        );
        assert_eq!(
            found,
            [
                "b.rs:1 no `//!` comment at the top",
                "c.rs:1 no `//!` comment at the top"
            ]
        );
    }

    #[test]
    fn a_header_has_its_parts_in_the_words_of_today() {
        let code = "fn f() {}\n".repeat(61);
        let file = |header: &str| format!("{header}\n{code}");
        let fine = file("//! A.\n//!\n//! Input: a. Output: b. Not here: c.");
        let old = file("//! A.\n//!\n//! Enters: a. Leaves: b.");
        let without = file("//! A.\n//!\n//! Input: a.");
        let found = offences(
            &HEADER_WORDS,
            &[
                ("fine.rs", &fine),
                ("old.rs", &old),
                ("tests/all.rs", &without),
                ("small.rs", "//! A.\nfn f() {}\n"),
                ("without.rs", &without),
            ],
        );
        assert_eq!(
            found,
            [
                "old.rs:3 `Enters:` in the header",
                "without.rs:1 no `Output:` in the header"
            ]
        );
    }
}
