//! The rule about files that import each other.
//!
//! Input: imports between files, those of tests left out. Output: an offence for each circle that has too
//! many files, with the shortest way round.

use super::manifest::package_of;
use super::rule::{Offence, Rule};
use super::tree::Tree;

/// Few files import each other.
pub(crate) const IMPORT_CIRCLES: Rule = Rule {
    name: "import-circles",
    why: "files that import each other can only be understood, moved and tested together.",
    check,
};

/// Packages with a limit of their own, and how many files a circle may have in them; a circle has two at
/// least.
const LIMITS: [(&str, usize); 3] = [("provium-vmm", 1), ("provium-devices", 1), ("provium-agent", 4)];

/// How many files a circle may have in any other package.
const LIMIT: usize = 5;

fn check(tree: &Tree) -> Vec<Offence> {
    let mut found = Vec::new();
    for circle in tree.graph.circles() {
        let first = circle[0];
        let name = package_of(&tree.packages, first).map_or("", |package| &package.name);
        let limit = LIMITS.iter().find(|(limited, _)| *limited == name);
        let limit = limit.map_or(LIMIT, |(_, limit)| *limit);
        if circle.len() <= limit {
            continue;
        }
        let way = tree.graph.way_round(first);
        let steps: Vec<_> = way.iter().map(|edge| edge.to.as_str()).collect();
        let line = way.first().map_or(1, |edge| edge.line);
        let what = format!("{} files import each other: {}", circle.len(), circle.join(" "));
        let allowed = if limit < 2 {
            "none".to_owned()
        } else {
            format!("{limit}")
        };
        let remedy = format!(
            "{allowed} may in {name}: move what two of them need into a third, first where {first} -> {}",
            steps.join(" -> ")
        );
        found.push(Offence::new(first, line, what, remedy));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::super::testing::{manifest, offences};
    use super::*;

    /// A package whose files import each the next, and the last the first.
    fn round(name: &str, count: usize) -> Vec<String> {
        let modules: String = (0..count).map(|at| format!("mod m{at};\n")).collect();
        let mut files = vec![
            ("k/Cargo.toml".to_owned(), manifest(name, &[])),
            ("k/src/lib.rs".to_owned(), modules),
        ];
        for at in 0..count {
            let text = format!(
                "use crate::m{}::f;\npub fn g() {{ f() }}\npub fn f() {{}}\n",
                (at + 1) % count
            );
            files.push((format!("k/src/m{at}.rs"), text));
        }
        let files: Vec<_> = files
            .iter()
            .map(|(path, text)| (path.as_str(), text.as_str()))
            .collect();
        offences(&IMPORT_CIRCLES, &files)
    }

    #[test]
    fn a_circle_has_few_files_and_none_in_the_monitor() {
        assert!(round("provium", 5).is_empty());
        assert!(round("provium", 6)[0].starts_with("k/src/m0.rs:1 6 files import each other: k/src/m0.rs"));
        assert!(round("provium-agent", 4).is_empty());
        assert_eq!(round("provium-agent", 5).len(), 1);
        assert_eq!(round("provium-vmm", 2).len(), 1);
    }

    #[test]
    fn files_that_import_in_one_direction_are_no_circle() {
        let manifest = manifest("provium-vmm", &[]);
        let found = offences(
            &IMPORT_CIRCLES,
            &[
                ("k/Cargo.toml", manifest.as_str()),
                ("k/src/lib.rs", "mod a;\nmod b;\npub use b::B;\n"),
                ("k/src/a.rs", "pub struct A;\n"),
                ("k/src/b.rs", "use crate::a::A;\npub struct B(A);\n"),
            ],
        );
        assert!(found.is_empty(), "{found:?}");
    }
}
