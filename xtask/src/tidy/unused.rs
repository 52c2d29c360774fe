//! The rule about dependencies that nobody uses.
//!
//! Input: manifests, and the names in each package's sources, comments left out. Output: offences.

use super::manifest::{Dependency, Package, Section, package_of};
use super::rule::{Offence, Rule, within};
use super::tree::Tree;

/// What a manifest lists is used.
pub(crate) const UNUSED_DEPENDENCIES: Rule = Rule {
    name: "unused-dependencies",
    why: "a dependency is compiled, updated and trusted, which it has to be worth.",
    check,
};

fn check(tree: &Tree) -> Vec<Offence> {
    let mut found = Vec::new();
    for package in &tree.packages {
        for listed in package
            .dependencies
            .iter()
            .filter(|listed| !used(tree, package, listed))
        {
            let what = format!("no source of {} names {}", package.name, listed.name);
            found.push(Offence::new(&package.manifest, listed.line, what, "remove it"));
        }
    }
    found
}

fn used(tree: &Tree, package: &Package, listed: &Dependency) -> bool {
    let word = listed.name.replace('-', "_");
    // A package that is all tests has no need of a section for them.
    let all_tests = package.folder.split('/').any(|part| part == "tests");
    let for_tests = |path: &str| {
        let folders = ["tests", "examples", "benches"];
        !all_tests && folders.iter().any(|folder| within(path, &package.path(folder)))
    };
    let reaches = |path: &str| match listed.section {
        Section::Normal => path != package.path("build.rs") && !for_tests(path),
        Section::Build => path == package.path("build.rs"),
        Section::Dev => path != package.path("build.rs"),
    };
    let own = |path: &str| {
        let owner = package_of(&tree.packages, path);
        owner.is_some_and(|owner| owner.folder == package.folder)
    };
    let mut sources = tree
        .rust()
        .filter(|(file, _)| own(&file.path) && reaches(&file.path));
    // In an attribute it is a text: `#[serde(with = "serde_bytes")]`.
    sources.any(|(_, source)| source.words.contains(&word))
}

#[cfg(test)]
mod tests {
    use super::super::testing::{manifest, offences};
    use super::*;

    #[test]
    fn what_tests_alone_name_belongs_to_them_unless_all_is_tests() {
        let text = manifest("k", &["libc"]);
        let source = "use libc::c_int;\n";
        assert_eq!(
            offences(
                &UNUSED_DEPENDENCIES,
                &[("k/Cargo.toml", &text), ("k/tests/a.rs", source)]
            ),
            ["k/Cargo.toml:4 no source of k names libc"]
        );
        assert!(
            offences(
                &UNUSED_DEPENDENCIES,
                &[("tests/Cargo.toml", &text), ("tests/tests/a.rs", source)]
            )
            .is_empty()
        );
    }

    #[test]
    fn what_is_listed_is_named() {
        let text = manifest("k", &["serde", "serde_bytes", "vmm-sys-util", "libc", "unnamed"])
            + "[dev-dependencies]\ntempfile = \"3\"\nproptest = \"1\"\n[build-dependencies]\ncpio = \"1\"\n";
        let found = offences(
            &UNUSED_DEPENDENCIES,
            &[
                ("k/Cargo.toml", text.as_str()),
                (
                    "k/src/lib.rs",
                    "//! unnamed\nuse serde::Serialize;\n#[derive(Serialize)]\nstruct S {\n    #[serde(with = \"serde_bytes\")]\n    \
                     b: u8,\n}\nfn f() { println!(\"{}\", vmm_sys_util::x()) }\n",
                ),
                ("k/tests/one.rs", "use libc::c_int;\nuse tempfile::tempdir;\n"),
                ("k/build.rs", "use cpio::x;\n"),
            ],
        );
        assert_eq!(
            found,
            [
                "k/Cargo.toml:7 no source of k names libc",
                "k/Cargo.toml:8 no source of k names unnamed",
                "k/Cargo.toml:11 no source of k names proptest",
            ]
        );
    }
}
