//! The registered API and its reference: neither has what the other lacks.
//!
//! The reference is `lua-api.md`, `classic.md` and the pages in `api/`, all in `docs/reference/`. A
//! userdata's part begins with a heading of the first or second level that is its name, or its name and those
//! of others with commas between them, and ends with the next such heading. Its methods are rows `` |
//! `prefix:name(…)` ``; one that it shares with another userdata, which has the row, may be just named. Parts
//! that are no userdata's, such as one about a dialect, may have rows of any.

use std::collections::BTreeSet;
use std::path::Path;

use mlua::{Lua, Table, Value};

use crate::lua::kinds::{Described, Entry, kinds};
use crate::lua::test::globals::GLOBALS;

/// `prefix:name` of every method there is.
pub(super) fn registered() -> BTreeSet<String> {
    kinds()
        .iter()
        .flat_map(|kind| {
            kind.methods
                .iter()
                .map(|method| format!("{}:{}", kind.prefix, method.name))
        })
        .collect()
}

/// A part of the reference.
struct Part {
    page: String,
    heading: String,
    text: String,
}

impl Part {
    fn is_of(&self, kind: &Described) -> bool {
        self.heading.split(", ").any(|name| name == kind.name)
    }

    /// What its rows begin with, up to the bracket: `vm:run`, `json.encode`.
    fn calls(&self) -> impl Iterator<Item = &str> {
        let rows = self.text.lines().filter_map(|line| line.strip_prefix("| `"));
        rows.filter_map(|row| row.split_once('(').map(|(name, _)| name))
            .filter(|name| !name.contains('`'))
    }
}

fn parts() -> Vec<Part> {
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/reference");
    let mut pages = vec![docs.join("lua-api.md"), docs.join("classic.md")];
    // Before the reference is split there is no such folder.
    let folder = std::fs::read_dir(docs.join("api")).into_iter().flatten();
    pages.extend(folder.map(|entry| entry.expect("the folder can be read").path()));
    pages.retain(|page| page.extension().is_some_and(|extension| extension == "md"));
    let mut parts = Vec::new();
    for page in pages {
        let text = std::fs::read_to_string(&page).expect("the page can be read");
        let name = page
            .strip_prefix(&docs)
            .expect("it is in docs/reference")
            .display()
            .to_string();
        parts.extend(parts_of(&name, &text));
    }
    parts
}

fn parts_of(page: &str, text: &str) -> Vec<Part> {
    let mut parts: Vec<Part> = Vec::new();
    let mut code = false;
    for line in text.lines() {
        code ^= line.starts_with("```");
        let heading = line.strip_prefix("# ").or(line.strip_prefix("## "));
        match heading.filter(|_| !code) {
            Some(heading) => parts.push(Part {
                page: page.to_owned(),
                heading: heading.trim().to_owned(),
                text: String::new(),
            }),
            None => {
                if let Some(part) = parts.last_mut().filter(|_| !code) {
                    part.text.push_str(line);
                    part.text.push('\n');
                }
            }
        }
    }
    parts
}

/// What is wrong with the reference.
fn faults(parts: &[Part], kinds: &[Described]) -> Vec<String> {
    let mut faults = Vec::new();
    let own = |part: &Part| kinds.iter().find(|kind| part.is_of(kind));
    let all_rows: BTreeSet<&str> = parts.iter().flat_map(Part::calls).collect();
    for kind in kinds {
        let name = kind.name;
        let shared = |method: &Entry| {
            let others = kinds.iter().filter(|other| other.prefix != kind.prefix);
            others
                .filter(|other| other.methods.iter().any(|theirs| theirs == method))
                .any(|other| all_rows.contains(format!("{}:{}", other.prefix, method.name).as_str()))
        };
        let of_kind: Vec<&Part> = parts.iter().filter(|part| part.is_of(kind)).collect();
        if of_kind.len() != 1 {
            let pages: Vec<&str> = of_kind.iter().map(|part| part.page.as_str()).collect();
            faults.push(format!("{name} has {} headings, in {pages:?}", pages.len()));
        }
        let readable: Vec<&Part> = parts
            .iter()
            .filter(|part| part.is_of(kind) || own(part).is_none())
            .collect();
        let rows: BTreeSet<&str> = readable.iter().flat_map(|part| part.calls()).collect();
        for method in &kind.methods {
            let call = format!("{}:{}", kind.prefix, method.name);
            let named = format!("`{}`", method.name);
            let mentioned = shared(method) && of_kind.iter().any(|part| part.text.contains(&named));
            if !rows.contains(call.as_str()) && !mentioned {
                faults.push(format!("{name} has the method {call}, and no row has it"));
            }
        }
        for field in &kind.fields {
            let shown = [
                format!("`{}`", field.name),
                format!("`.{}", field.name),
                format!("`{}.{}`", kind.prefix, field.name),
                format!("`{}.{} ", kind.prefix, field.name),
            ];
            let described = readable
                .iter()
                .any(|part| shown.iter().any(|shown| part.text.contains(shown)));
            if !described {
                faults.push(format!(
                    "{name} has the field {}, and its part does not",
                    field.name
                ));
            }
        }
    }
    for part in parts {
        for call in part.calls().filter(|call| call.contains(':')) {
            let candidates = kinds.iter().filter(|kind| match own(part) {
                Some(_) => part.is_of(kind),
                None => true,
            });
            let known = candidates
                .flat_map(|kind| kind.methods.iter().map(|method| (kind.prefix, method.name)))
                .any(|(prefix, name)| call.split_once(':') == Some((prefix, name)));
            if !known {
                faults.push(format!(
                    "{}, {}: the row {call} is no method",
                    part.page, part.heading
                ));
            }
        }
    }
    faults
}

#[test]
fn every_method_and_field_is_described_and_nothing_else() {
    let faults = faults(&parts(), &kinds());
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

/// The check itself.
#[test]
fn what_is_missing_or_too_much_is_found() {
    let kinds = kinds();
    let found = |text: &str| {
        let mut parts = parts();
        parts.extend(parts_of("new.md", text));
        faults(&parts, &kinds)
    };
    assert_eq!(found("# Dialect\n| `vm:run(x)` | |\n"), [""; 0]);
    assert_eq!(found("```\n# Lab\n| `vm:none()` | |\n```\n"), [""; 0]);
    assert_eq!(
        found("# Dialect\n| `vm:none(x)` | |\n"),
        ["new.md, Dialect: the row vm:none is no method"]
    );
    let all = parts();
    let page = &all.iter().find(|part| part.heading == "VM").expect("a part").page;
    let twice = found("## VM\n| `t:fail(x)` | |\n");
    assert_eq!(
        twice,
        [
            format!("VM has 2 headings, in [{page:?}, \"new.md\"]"),
            "new.md, VM: the row t:fail is no method".to_owned()
        ]
    );
    let none = faults(&[], &kinds);
    let count: usize = kinds
        .iter()
        .map(|kind| 1 + kind.methods.len() + kind.fields.len())
        .sum();
    assert_eq!(none.len(), count, "{none:?}");
}

#[test]
fn descriptions_are_sentences() {
    for kind in kinds() {
        for method in &kind.methods {
            assert!(method.ty.starts_with('('), "{}: {}", method.name, method.ty);
        }
        for entry in kind.methods.iter().chain(&kind.fields) {
            let sentence = entry.doc.ends_with('.') && entry.doc.len() > 5 && !entry.doc.contains('\n');
            assert!(
                sentence && !entry.ty.is_empty(),
                "{}: {:?}",
                entry.name,
                entry.doc
            );
        }
    }
    for global in GLOBALS {
        assert!(
            global.signature.starts_with('(') && global.doc.ends_with('.'),
            "{}",
            global.name
        );
    }
}

/// Names of all functions and tables that a state has, with those of its modules.
fn names(lua: &Lua) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for pair in lua.globals().pairs::<String, Value>() {
        let (name, value) = pair.expect("global names are strings");
        if let Value::Table(module) = &value
            && name != "_G"
            && name != "package"
        {
            let inner = module
                .pairs::<String, Value>()
                .map(|pair| pair.expect("a name").0);
            names.extend(inner.map(|inner| format!("{name}.{inner}")));
        } else {
            names.insert(name);
        }
    }
    names
}

/// What a test file finds beyond Lua's own is `provium` and the table of globals, and that is in the
/// reference.
#[test]
fn every_global_is_in_the_table_and_described() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let job = super::job(dir.path(), "");
    let file = crate::lua::test::file::File::new(
        &job,
        crate::lua::api::source::Source::new(Vec::new()),
        &super::silent(),
    );
    let (lua, _) = crate::lua::start::create(&file).expect("a state");
    let own = mlua::StdLib::ALL_SAFE;
    let plain = Lua::new_with(own, mlua::LuaOptions::new()).expect("a state");
    let mut expected = names(&plain);
    // What it makes is refused.
    expected.remove("string.dump");
    expected.insert("provium".to_owned());
    expected.extend(GLOBALS.iter().map(|global| global.name.to_owned()));
    assert_eq!(names(&lua), expected);

    let parts = parts();
    let globals: Vec<&Part> = parts.iter().filter(|part| part.heading == "Globals").collect();
    let [globals] = globals[..] else {
        panic!("{} parts are about globals", globals.len());
    };
    let rows: BTreeSet<&str> = globals.calls().collect();
    for global in GLOBALS {
        // A row, or a sentence where there is nothing to say about parameters.
        let mentioned = ["`", "("]
            .iter()
            .any(|end| globals.text.contains(&format!("`{}{end}", global.name)));
        let described = rows.contains(global.name) || mentioned;
        assert!(
            described,
            "{} is a global, and the reference does not have it",
            global.name
        );
    }
    for row in rows {
        let value: Value = match row.split_once('.') {
            None => lua.globals().get(row).expect(row),
            Some((module, name)) => {
                let module: Table = lua.globals().get(module).expect(row);
                module.get(name).expect(row)
            }
        };
        assert!(matches!(value, Value::Function(_)), "{row} is no global");
    }
}
