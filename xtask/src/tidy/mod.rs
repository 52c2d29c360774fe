//! `cargo xtask tidy`: the rules of the house, read from the tree.
//!
//! Input: the workspace and its allow-list. Output: a line for each offence, `path:line: rule: what; what to
//! do`, and an error when there is any. A rule is a value with a function from a [`Tree`] to offences; a file
//! here for each kind. Not here: what rustfmt, rustc and clippy check already.

mod allow;
mod circles;
mod floors;
mod graph;
mod habits;
mod headers;
mod imports;
mod length;
mod manifest;
mod packages;
mod pages;
mod rule;
mod scope;
mod source;
#[cfg(test)]
mod testing;
mod tree;
mod unsafety;
mod unused;

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::{Context, Result, bail};

use crate::workspace;
use allow::AllowList;
use rule::{Offence, Rule};
use tree::Tree;

/// All rules, as they are named in messages and in the allow-list.
static RULES: [Rule; 17] = [
    imports::RESERVED_CRATES,
    imports::FORBIDDEN_PATHS,
    packages::PACKAGE_ARROWS,
    floors::MODULE_ARROWS,
    circles::IMPORT_CIRCLES,
    unsafety::UNSAFE_CODE,
    length::FILE_LENGTH,
    length::COMMENT_WIDTH,
    headers::MODULE_HEADERS,
    headers::HEADER_WORDS,
    habits::POISONED_LOCKS,
    habits::IGNORED_TESTS,
    habits::TIMED_ASSERTIONS,
    unused::UNUSED_DEPENDENCIES,
    pages::DOCS_INDEX,
    pages::LINKS,
    pages::NAMED_PATHS,
];

/// Checks the workspace and prints what is wrong.
///
/// # Errors
/// When there is an offence that the allow-list does not excuse, or the tree cannot be read.
pub(crate) fn check() -> Result<()> {
    let found = offences(workspace::root())?;
    let broken: BTreeSet<&str> = found.iter().map(|(rule, _)| *rule).collect();
    for (rule, offence) in &found {
        println!("{}", line(rule, offence));
    }
    for rule in RULES.iter().filter(|rule| broken.contains(rule.name)) {
        println!("   {}: {}", rule.name, rule.why);
    }
    if !found.is_empty() {
        bail!("{} offence(s)", found.len());
    }
    println!("   {} rules hold", RULES.len());
    Ok(())
}

/// Prints entries for the allow-list that would excuse all offences there are.
///
/// # Errors
/// When the tree cannot be read.
pub(crate) fn list() -> Result<()> {
    let mut found = offences(workspace::root())?;
    found.sort_by(|(one, a), (other, b)| (one, a).cmp(&(other, b)));
    print!("{}", allow::entries(&found));
    Ok(())
}

/// Offences that nothing excuses, sorted by place, each with the name of its rule.
fn offences(root: &Path) -> Result<Vec<(&'static str, Offence)>> {
    let tree = Tree::read(root)?;
    let list = root.join(allow::PATH);
    let text = match list.exists() {
        true => std::fs::read_to_string(&list).with_context(|| format!("read {}", list.display()))?,
        false => String::new(),
    };
    let mut found = Vec::new();
    for rule in &RULES {
        found.extend(
            (rule.check)(&tree)
                .into_iter()
                .map(|offence| (rule.name, offence)),
        );
    }
    let mut left = AllowList::parse(&text)?.apply(&text, &RULES, found);
    left.sort_by(|(one, a), (other, b)| (a, one).cmp(&(b, other)));
    Ok(left)
}

fn line(rule: &str, offence: &Offence) -> String {
    let Offence {
        path,
        line,
        what,
        remedy,
    } = offence;
    format!("{path}:{line}: {rule}: {what}; {remedy}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offences_are_sorted_and_the_list_excuses_some() {
        let root = tempfile::tempdir().unwrap();
        let write = |path: &str, text: &str| {
            let path = root.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        };
        write("k/Cargo.toml", "[package]\nname = \"provium-devices\"\n");
        write("k/src/lib.rs", "mod b;\nmod a;\n");
        write("k/src/b.rs", "fn b() {}\n");
        write("k/src/a.rs", "//! A.\n#[test]\n#[ignore]\nfn a() {}\n");
        write(
            allow::PATH,
            "[[allow]]\nrule = \"module-headers\"\npath = \"k/src/lib.rs\"\nreason = \"small\"\n",
        );
        let found = offences(root.path()).unwrap();
        let lines: Vec<_> = found.iter().map(|(rule, offence)| line(rule, offence)).collect();
        assert_eq!(
            lines,
            [
                "k/src/a.rs:3: ignored-tests: a test that never runs; make it run, or delete it",
                "k/src/b.rs:1: module-headers: no `//!` comment at the top; say in a line what the module is",
            ]
        );
    }

    #[test]
    fn rules_have_names_of_their_own_and_reasons() {
        let names: BTreeSet<_> = RULES.iter().map(|rule| rule.name).collect();
        assert_eq!(names.len(), RULES.len());
        assert!(RULES.iter().all(|rule| rule.why.ends_with('.')));
    }
}
