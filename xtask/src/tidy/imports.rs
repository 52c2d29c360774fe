//! Rules about who may import what from outside of the tree, or across its big seams.
//!
//! Input: `use` declarations, paths and manifests, those of tests too. Output: offences. Not here: which
//! package of ours may use which ([`super::packages`]) and which module which ([`super::floors`]).

use super::manifest::package_of;
use super::rule::{Offence, Rule, within};
use super::scope::{Named, Scope};
use super::tree::Tree;

/// Some crates are imported in few places.
pub(crate) const RESERVED_CRATES: Rule = Rule {
    name: "reserved-crates",
    why: "a crate with a place of its own can be replaced there, and what is elsewhere can be used without it.",
    check: reserved_crates,
};

/// Some paths are not used in some folders.
pub(crate) const FORBIDDEN_PATHS: Rule = Rule {
    name: "forbidden-paths",
    why: "a device is logic and state that a test drives without a guest: it starts no thread and holds no descriptor.",
    check: forbidden_paths,
};

/// A crate and the modules that may import it; their packages may list it.
struct Reserved {
    name: &'static str,
    places: &'static [&'static str],
}

const KVM: &[&str] = &[
    "vmm/src/kvm",
    "vmm/src/machine/vcpu_thread",
    "vmm/src/soundness",
    "bench/src/floor",
];

const RESERVED: [Reserved; 5] = [
    Reserved {
        name: "mlua",
        places: &["runner/src/lua"],
    },
    Reserved {
        name: "provium-protocol",
        places: &["runner/guest", "agent", "tests/hostile-agent"],
    },
    Reserved {
        name: "provium-emulated",
        places: &["runner/emulated", "runner/src/cli", "runner/src/doctor"],
    },
    Reserved {
        name: "kvm-ioctls",
        places: KVM,
    },
    Reserved {
        name: "kvm-bindings",
        places: KVM,
    },
];

/// Paths, and the folder whose code, apart from tests, does without them.
const FORBIDDEN: [(&str, &[&str]); 2] = [
    ("devices/src", &["std", "thread"]),
    ("devices/src", &["std", "os", "fd"]),
];

fn reserved_crates(tree: &Tree) -> Vec<Offence> {
    let mut found = Vec::new();
    for Reserved { name, places } in &RESERVED {
        let ident = name.replace('-', "_");
        let remedy = format!("only {} may: use what they offer", places.join(", "));
        let allowed = |path: &str| places.iter().any(|place| within(path, place));
        for (file, source) in tree.rust().filter(|(file, _)| !allowed(&file.path)) {
            let line = first(&source.scope, &|named, imported| {
                named.segments[0] == ident && (imported || named.segments.len() > 1)
            });
            if let Some(line) = line {
                found.push(Offence::new(
                    &file.path,
                    line,
                    format!("imports {ident}"),
                    &remedy,
                ));
            }
        }
        let homes: Vec<&str> = places
            .iter()
            .filter_map(|place| package_of(&tree.packages, place))
            .map(|package| package.name.as_str())
            .collect();
        for package in &tree.packages {
            let listed = package.dependencies.iter().find(|listed| listed.name == *name);
            if let Some(listed) = listed.filter(|_| !homes.contains(&package.name.as_str())) {
                let what = format!("{} lists {name}", package.name);
                found.push(Offence::new(&package.manifest, listed.line, what, &remedy));
            }
        }
    }
    found
}

fn forbidden_paths(tree: &Tree) -> Vec<Offence> {
    let mut found = Vec::new();
    for (folder, path) in &FORBIDDEN {
        let sources = tree
            .rust()
            .filter(|(file, _)| !file.test && within(&file.path, folder));
        for (file, source) in sources {
            let line = first(&source.scope, &|named, _| {
                !named.test && named.segments.iter().zip(*path).filter(|(a, b)| a == b).count() == path.len()
            });
            if let Some(line) = line {
                let what = format!("uses {}", path.join("::"));
                let remedy = format!("{folder} does without: leave it to who uses the code");
                found.push(Offence::new(&file.path, line, what, remedy));
            }
        }
    }
    found
}

/// First line of a scope with a path like this; `like` also gets whether it is imported.
fn first(scope: &Scope, like: &dyn Fn(&Named, bool) -> bool) -> Option<usize> {
    let imports = scope.imports.iter().map(|import| (&import.named, true));
    let paths = scope.paths.iter().map(|named| (named, false));
    let lines = imports
        .chain(paths)
        .filter(|(named, imported)| !named.segments.is_empty() && like(named, *imported))
        .map(|(named, _)| named.line);
    let inline = scope.inline.iter().filter_map(|scope| first(scope, like));
    lines.chain(inline).min()
}

#[cfg(test)]
mod tests {
    use super::super::testing::{manifest, offences};
    use super::*;

    #[test]
    fn a_reserved_crate_stays_in_its_place() {
        let (runner, vmm) = (manifest("provium", &["mlua"]), manifest("provium-vmm", &["mlua"]));
        let found = offences(
            &RESERVED_CRATES,
            &[
                ("runner/Cargo.toml", runner.as_str()),
                ("runner/src/lua/vm.rs", "use mlua::Lua;\n"),
                (
                    "runner/src/run.rs",
                    "//! R.\nfn f() -> mlua::Result<()> { todo() }\n",
                ),
                // A variable of that name is no import.
                ("runner/src/text.rs", "fn f(mlua: u8) -> u8 { mlua }\n"),
                ("vmm/Cargo.toml", vmm.as_str()),
                ("vmm/src/kvm/vm.rs", "use kvm_ioctls::VmFd;\n"),
                (
                    "vmm/src/machine/save.rs",
                    "mod inner {\n    use kvm_bindings::kvm_regs;\n}\n",
                ),
            ],
        );
        assert_eq!(
            found,
            [
                "runner/src/run.rs:2 imports mlua",
                "vmm/Cargo.toml:4 provium-vmm lists mlua",
                "vmm/src/machine/save.rs:2 imports kvm_bindings"
            ]
        );
    }

    #[test]
    fn tests_keep_to_it_too() {
        let found = offences(
            &RESERVED_CRATES,
            &[
                ("runner/src/cli/mod.rs", "use provium_emulated::run;\n"),
                (
                    "runner/src/lua/vm.rs",
                    "#[cfg(test)]\nmod tests {\n    use provium_protocol::Reply;\n}\n",
                ),
                ("runner/guest/src/wire.rs", "use provium_protocol::Reply;\n"),
            ],
        );
        assert_eq!(found, ["runner/src/lua/vm.rs:3 imports provium_protocol"]);
    }

    #[test]
    fn a_device_starts_no_thread_and_its_tests_may() {
        let found = offences(
            &FORBIDDEN_PATHS,
            &[
                (
                    "devices/src/block.rs",
                    "use std::{io, thread};\nfn f() { thread::spawn(g); }\n",
                ),
                (
                    "devices/src/net.rs",
                    "fn f() { std::thread::spawn(g); }\n#[cfg(test)]\nfn t() {}\n",
                ),
                (
                    "devices/src/rng.rs",
                    "#[cfg(test)]\nmod tests {\n    use std::thread;\n}\n",
                ),
                ("vmm/src/disk.rs", "use std::thread;\n"),
            ],
        );
        assert_eq!(
            found,
            [
                "devices/src/block.rs:1 uses std::thread",
                "devices/src/net.rs:1 uses std::thread"
            ]
        );
    }
}
