//! The rule about which module may use which: the floors of the runner.
//!
//! Input: imports between files, those of tests left out. Output: an offence for each import that goes up.
//! Not here: circles within a floor ([`super::circles`]).

use super::graph::Edge;
use super::rule::{Offence, Rule, within};
use super::tree::Tree;

/// Modules use what lies below them.
pub(crate) const MODULE_ARROWS: Rule = Rule {
    name: "module-arrows",
    why: "what does not know the floor above can be tested, and used by a second front, without it.",
    check,
};

/// The floors of the Lua face, the top first. What is in none of them puts the method tables together, above
/// all.
const LUA: [&str; 5] = [
    "runner/src/lua/classic",
    "runner/src/lua/objects",
    "runner/src/lua/test",
    "runner/src/lua/state",
    "runner/src/lua/api",
];

/// Modules of the runner's packages that may use these others of them, and nothing else.
const ONLY: [(&str, &[&str]); 1] = [("runner/src/report", &["runner/base"])];

/// Modules that must not use these others.
const NEVER: [(&str, &[&str]); 6] = [
    (
        "runner/src/session",
        &["runner/src/lua", "runner/src/report", "runner/src/cli"],
    ),
    (
        "runner/src/stock",
        &[
            "runner/src/lua",
            "runner/src/session",
            "runner/src/report",
            "runner/src/cli",
        ],
    ),
    (
        "runner/src/lua",
        &["runner/src/report", "runner/src/cli", "runner/src/doctor"],
    ),
    ("runner/src/config", &["runner/src/lua"]),
    ("runner/src/discover", &["runner/src/lua"]),
    ("runner/src/doctor", &["runner/src/lua"]),
];

/// Packages whose modules [`ONLY`] is about.
const RUNNER: &str = "runner";

fn check(tree: &Tree) -> Vec<Offence> {
    tree.graph.edges.iter().filter_map(offence).collect()
}

fn offence(edge: &Edge) -> Option<Offence> {
    let Edge { from, to, line, path } = edge;
    let remedy = if let Some(remedy) = up(from, to) {
        remedy
    } else if let Some((module, may)) = ONLY.iter().find(|(module, may)| {
        let own = within(to, module) || may.iter().any(|may| within(to, may));
        within(from, module) && within(to, RUNNER) && !own
    }) {
        format!("{module} uses {} alone", may.join(", "))
    } else {
        let (module, other) = NEVER.iter().find_map(|(module, never)| {
            let other = never.iter().find(|other| within(to, other))?;
            within(from, module).then_some((module, other))
        })?;
        format!("{module} must not know {other}")
    };
    Some(Offence::new(
        from,
        *line,
        format!("`{path}` leads to {to}"),
        remedy,
    ))
}

/// What is wrong with an import of the Lua face that goes up.
fn up(from: &str, to: &str) -> Option<String> {
    let face = "runner/src/lua";
    if !within(from, face) || !within(to, face) {
        return None;
    }
    let floor = |path: &str| LUA.iter().position(|floor| within(path, floor));
    let from = floor(from)?;
    match floor(to) {
        Some(to) if to >= from => None,
        Some(to) => Some(format!(
            "{} lies above {}: move what both need down",
            LUA[to], LUA[from]
        )),
        None => Some(format!(
            "{face} itself lies above {}: move what both need down",
            LUA[from]
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{manifest, offences};
    use super::*;

    fn runner(files: &[(&str, &str)]) -> Vec<String> {
        let (runner, base) = (
            manifest("provium", &["provium-base"]),
            manifest("provium-base", &[]),
        );
        let mut all = vec![
            ("runner/Cargo.toml", runner.as_str()),
            ("runner/base/Cargo.toml", base.as_str()),
            ("runner/base/src/lib.rs", "pub mod events;\n"),
            ("runner/base/src/events.rs", "pub struct Event;\n"),
            (
                "runner/src/lib.rs",
                "pub mod lua; pub mod report; pub mod session; pub mod config;\n",
            ),
            (
                "runner/src/lua/mod.rs",
                "pub mod api; pub mod state; pub mod objects; pub mod kinds;\n",
            ),
            ("runner/src/lua/api.rs", "pub struct Call;\n"),
            ("runner/src/lua/state.rs", "pub struct Scope;\n"),
            ("runner/src/lua/objects.rs", "pub struct Vm;\n"),
            (
                "runner/src/lua/kinds.rs",
                "use super::objects::Vm;\npub fn kinds() -> Vm { Vm }\n",
            ),
            (
                "runner/src/report.rs",
                "use provium_base::events::Event;\npub fn report(_: Event) {}\n",
            ),
            (
                "runner/src/session.rs",
                "use provium_base::events::Event;\npub struct Outcome(Event);\n",
            ),
            ("runner/src/config.rs", "pub struct Profile;\n"),
        ];
        for (path, text) in files {
            all.retain(|(other, _)| other != path);
            all.push((path, text));
        }
        offences(&MODULE_ARROWS, &all)
    }

    #[test]
    fn what_goes_down_is_fine() {
        let objects = "use super::api::Call;\nuse super::state::Scope;\npub struct Vm(Call, Scope);\n";
        assert!(runner(&[("runner/src/lua/objects.rs", objects)]).is_empty());
    }

    #[test]
    fn the_floors_of_lua_are_in_order() {
        let found = runner(&[
            (
                "runner/src/lua/api.rs",
                "use super::state::Scope;\npub struct Call(Scope);\n",
            ),
            (
                "runner/src/lua/state.rs",
                "pub struct Scope;\nfn f() { super::kinds::kinds(); }\n",
            ),
        ]);
        assert_eq!(
            found,
            [
                "runner/src/lua/api.rs:1 `super::state::Scope` leads to runner/src/lua/state.rs",
                "runner/src/lua/state.rs:2 `super::kinds::kinds` leads to runner/src/lua/kinds.rs"
            ]
        );
    }

    #[test]
    fn reports_read_events_and_nobody_reads_reports_that_must_not() {
        let found = runner(&[
            (
                "runner/src/report.rs",
                "use crate::session::Outcome;\npub fn report(_: Outcome) {}\n",
            ),
            (
                "runner/src/session.rs",
                "use crate::report::report;\npub struct Outcome;\n",
            ),
            (
                "runner/src/config.rs",
                "use crate::lua::api::Call;\npub struct Profile(Call);\n",
            ),
        ]);
        assert_eq!(
            found,
            [
                "runner/src/config.rs:1 `crate::lua::api::Call` leads to runner/src/lua/api.rs",
                "runner/src/report.rs:1 `crate::session::Outcome` leads to runner/src/session.rs",
                "runner/src/session.rs:1 `crate::report::report` leads to runner/src/report.rs"
            ]
        );
    }

    #[test]
    fn tests_may_go_anywhere() {
        let text = "pub struct Profile;\n#[cfg(test)]\nmod tests {\n    use crate::lua::api::Call;\n    fn f(_: Call) {}\n}\n";
        assert!(runner(&[("runner/src/config.rs", text)]).is_empty());
    }
}
