//! The rule about which package of ours may use which.
//!
//! Input: manifests. Output: offences. What tests alone use (`[dev-dependencies]`) may be any package. Not
//! here: packages of others ([`super::imports`], [`super::unused`]).

use super::manifest::{Dependency, Section};
use super::rule::{Offence, Rule};
use super::tree::Tree;

/// Packages of ours are used in one direction.
pub(crate) const PACKAGE_ARROWS: Rule = Rule {
    name: "package-arrows",
    why: "what lies below can be built, tested and used without what lies above.",
    check,
};

/// Each package of ours, and those of ours that it may use.
const ARROWS: [(&str, &[&str]); 17] = [
    (
        "provium",
        &[
            "provium-base",
            "provium-cache",
            "provium-debian",
            "provium-emulated",
            "provium-guest",
            "provium-symbols",
            "provium-vmm",
        ],
    ),
    // The agent as a part of the process is a feature, for tests without a guest.
    (
        "provium-guest",
        &["provium-agent", "provium-base", "provium-protocol", "provium-vmm"],
    ),
    ("provium-cache", &["provium-base"]),
    ("provium-debian", &["provium-base"]),
    // The monitor measures the counter's frequency, which QEMU is told.
    (
        "provium-emulated",
        &["provium-base", "provium-debian", "provium-vmm"],
    ),
    ("provium-base", &[]),
    ("provium-symbols", &[]),
    ("provium-vmm", &["provium-devices"]),
    ("provium-devices", &[]),
    ("provium-protocol", &[]),
    ("provium-agent", &["provium-protocol"]),
    ("provium-hostile-agent", &["provium-agent", "provium-protocol"]),
    (
        "provium-tests",
        &[
            "provium",
            "provium-base",
            "provium-cache",
            "provium-devices",
            "provium-guest",
            "provium-vmm",
        ],
    ),
    (
        "provium-bench",
        &[
            "provium",
            "provium-base",
            "provium-bench-results",
            "provium-emulated",
            "provium-guest",
            "provium-tests",
            "provium-vmm",
        ],
    ),
    ("provium-bench-results", &[]),
    // Whatever reads bytes of somebody who is not trusted.
    (
        "provium-fuzz",
        &[
            "provium",
            "provium-base",
            "provium-devices",
            "provium-emulated",
            "provium-protocol",
            "provium-vmm",
        ],
    ),
    ("xtask", &["provium-bench-results", "provium-debian"]),
];

fn check(tree: &Tree) -> Vec<Offence> {
    let ours = |name: &str| tree.packages.iter().any(|package| package.name == name);
    let mut found = Vec::new();
    for package in &tree.packages {
        let Some((_, may)) = ARROWS.iter().find(|(name, _)| *name == package.name) else {
            let what = format!("package {} has no place in the house", package.name);
            let remedy = "say in xtask/src/tidy/packages.rs which packages it may use";
            found.push(Offence::new(&package.manifest, 1, what, remedy));
            continue;
        };
        let wrong = |listed: &&Dependency| {
            listed.section != Section::Dev && ours(&listed.name) && !may.contains(&listed.name.as_str())
        };
        for listed in package.dependencies.iter().filter(wrong) {
            let what = format!("{} uses {}", package.name, listed.name);
            let remedy = match may {
                [] => "it uses no package of ours: turn the arrow round".to_owned(),
                may => format!(
                    "it may use {}: go through them, or turn the arrow round",
                    may.join(", ")
                ),
            };
            found.push(Offence::new(&package.manifest, listed.line, what, remedy));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::super::testing::{manifest, offences};
    use super::*;

    #[test]
    fn arrows_point_down() {
        let files = [
            (
                "runner/Cargo.toml",
                manifest("provium", &["provium-vmm", "provium-protocol"]),
            ),
            (
                "agent/protocol/Cargo.toml",
                manifest("provium-protocol", &["serde"]),
            ),
            (
                "vmm/Cargo.toml",
                manifest("provium-vmm", &["provium-devices", "provium"]),
            ),
            (
                "devices/Cargo.toml",
                manifest("provium-devices", &[]) + "[dev-dependencies]\nprovium-vmm.workspace = true\n",
            ),
            ("new/Cargo.toml", manifest("provium-new", &[])),
        ];
        let files: Vec<_> = files.iter().map(|(path, text)| (*path, text.as_str())).collect();
        assert_eq!(
            offences(&PACKAGE_ARROWS, &files),
            [
                "new/Cargo.toml:1 package provium-new has no place in the house",
                "runner/Cargo.toml:5 provium uses provium-protocol",
                "vmm/Cargo.toml:5 provium-vmm uses provium"
            ]
        );
    }
}
