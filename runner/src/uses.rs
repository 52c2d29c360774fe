//! Which files a Lua file uses, as far as its text says: helpers, fixtures, files of the host.
//!
//! Input: a file, the folders of the project. Output: the files below it, and whether a name in it is made as
//! it runs. The text is read, not run: a use is a literal name behind `require`, `dofile`, `loadfile` or a
//! call for a fixture, or any literal text that is a file's path. Not here: what is done with that.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use provium_cache::Sources;

use crate::tokens::{Token, tokens};

/// Longest text that is looked at as a path, in bytes.
const PATH_MAX: usize = 1024;

/// The project that files are looked for in.
#[derive(Debug)]
pub struct Uses<'a> {
    /// What paths are relative to.
    project: &'a Path,
    /// What modules are looked for in.
    folders: Vec<&'a Path>,
    fixtures: &'a Sources,
}

/// What a file uses.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Used {
    /// Absolute paths, the file's own among them.
    pub files: BTreeSet<PathBuf>,
    /// Whether the name of a module, a file or a fixture is no literal, so that there may be others.
    pub computed: bool,
    /// Whether a file among them names [`REACHES`], without which no code comes by a virtual machine.
    pub reaches: bool,
}

impl Used {
    /// Whether the file's own code or its tests may boot a virtual machine.
    pub fn may_boot(&self) -> bool {
        self.computed || self.reaches
    }
}

impl<'a> Uses<'a> {
    /// The project in that folder, with these roots and fixtures.
    pub fn new(project: &'a Path, roots: &'a [PathBuf], fixtures: &'a Sources) -> Uses<'a> {
        let mut folders: Vec<&Path> = roots.iter().map(PathBuf::as_path).collect();
        folders.push(project);
        Uses {
            project,
            folders,
            fixtures,
        }
    }

    /// What the file uses, directly or by what it uses.
    pub fn of(&self, file: &Path) -> Used {
        let mut used = Used::default();
        let mut waiting = vec![file.to_owned()];
        while let Some(path) = waiting.pop() {
            if !used.files.insert(path.clone()) || path.extension().is_none_or(|ending| ending != "lua") {
                continue;
            }
            // What cannot be read says nothing.
            let text = std::fs::read(&path).unwrap_or_default();
            for word in words(&String::from_utf8_lossy(&text)) {
                match word {
                    Word::Computed => used.computed = true,
                    Word::Reaches => used.reaches = true,
                    Word::Text { call, text } => waiting.extend(self.named(&call, &text)),
                }
            }
        }
        used
    }

    /// The file that a literal text means, behind the name of a function.
    fn named(&self, call: &str, text: &str) -> Option<PathBuf> {
        if text.is_empty() || text.len() > PATH_MAX || text.contains(['\n', '\0']) {
            return None;
        }
        let there = |path: PathBuf| path.is_file().then_some(path);
        let module = || {
            let path = text.replace('.', "/");
            let places = self.folders.iter().flat_map(|folder| {
                [format!("{path}.lua"), format!("{path}/init.lua")].map(|place| folder.join(place))
            });
            places.into_iter().find(|place| place.is_file())
        };
        let fixture = || {
            let found = self.fixtures.lookup(text, None).ok()?;
            Some(found.path.clone())
        };
        match call {
            "require" => module(),
            "fixture" | "vm_fixture" | "lab_fixture" => fixture(),
            _ => there(std::path::absolute(self.project.join(text)).ok()?),
        }
    }
}

/// Functions whose first argument names a file.
const CALLS: [&str; 6] = [
    "require",
    "dofile",
    "loadfile",
    "fixture",
    "vm_fixture",
    "lab_fixture",
];

/// What a text has that may be a use.
#[derive(Debug, PartialEq, Eq)]
enum Word {
    /// A literal text and the name of the function that it is the first argument of; else an empty name.
    Text { call: String, text: String },
    /// A call of one of [`CALLS`] with something else.
    Computed,
    /// One of [`REACHES`].
    Reaches,
}

/// Names by which a file comes by a virtual machine: the global itself, and what reads a global, or runs a
/// text, by a name that is made as the file runs.
const REACHES: [&str; 6] = ["provium", "_G", "_ENV", "load", "loadstring", "debug"];

/// What a Lua source has that may be a use.
fn words(source: &str) -> Vec<Word> {
    let tokens = tokens(source);
    let word = |(at, token): (usize, &Token<'_>)| {
        let (call, opened) = match &tokens[..at] {
            [.., Token::Name(name), Token::Sign('(')] if CALLS.contains(name) => (*name, true),
            [.., Token::Name(name)] if CALLS.contains(name) => (*name, false),
            _ => ("", false),
        };
        match token {
            Token::Text(text) => Some(Word::Text {
                call: call.to_owned(),
                text: text.clone(),
            }),
            Token::Name(_) if opened => Some(Word::Computed),
            Token::Name(name) if REACHES.contains(name) => Some(Word::Reaches),
            _ => None,
        }
    };
    tokens.iter().enumerate().filter_map(word).collect()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn words_are_literals_behind_their_calls() {
        let text = |call: &str, text: &str| Word::Text {
            call: call.to_owned(),
            text: text.to_owned(),
        };
        let cases: [(&str, Vec<Word>); 8] = [
            ("local a = require 'lib.a'", vec![text("require", "lib.a")]),
            (
                "require(\"a\") dofile [[b.lua]]",
                vec![text("require", "a"), text("dofile", "b.lua")],
            ),
            (
                "provium:vm_fixture('base')",
                vec![Word::Reaches, text("vm_fixture", "base")],
            ),
            (
                "-- require 'no'\nx = 'y' --[[ 'z'\n ]] 'w'",
                vec![text("", "y"), text("", "w")],
            ),
            ("require(name)", vec![Word::Computed]),
            ("require(\n  'a')", vec![text("require", "a")]),
            ("local require = f; g('a')", vec![text("", "a")]),
            ("return provium", vec![Word::Reaches]),
        ];
        for (lua, expected) in cases {
            assert_eq!(words(lua), expected, "{lua}");
        }
    }

    #[test]
    fn uses_are_followed_through_helpers_and_fixtures() {
        let dir = tempfile::tempdir().expect("a folder");
        let files = [
            (
                "tests/a.test.lua",
                "require 'lib.b' provium:fixture('base'):push_file('data.bin', '/x')",
            ),
            ("tests/lib/b.lua", "return dofile('tests/c.lua')"),
            ("tests/c.lua", "require 'lib.b'"),
            ("tests/base.fixture.lua", "local name = 'x' require(name)"),
            ("data.bin", "require 'unused'"),
            ("tests/unused.lua", ""),
            ("tests/d.test.lua", "vm:run('echo tests')"),
        ];
        for (name, text) in files {
            let path = dir.path().join(name);
            fs::create_dir_all(path.parent().expect("a parent")).expect("folders");
            fs::write(path, text).expect("a file");
        }
        let roots = [dir.path().join("tests")];
        let sources = Sources::find(dir.path(), &roots).expect("fixtures");
        let uses = Uses::new(dir.path(), &roots, &sources);
        let of = |name: &str| {
            let used = uses.of(&dir.path().join(name));
            let names = used
                .files
                .iter()
                .map(|file| file.strip_prefix(dir.path()).expect("in there"));
            let names: Vec<_> = names.map(|name| name.display().to_string()).collect();
            (names.join(" "), used.computed)
        };
        let may_boot = |name: &str| uses.of(&dir.path().join(name)).may_boot();
        assert!(may_boot("tests/a.test.lua"), "it says `provium` itself");
        assert!(
            may_boot("tests/base.fixture.lua"),
            "it requires what its text does not name"
        );
        assert!(!may_boot("tests/d.test.lua"), "a `vm` that nothing has made");
        let all = "data.bin tests/a.test.lua tests/base.fixture.lua tests/c.lua tests/lib/b.lua";
        assert_eq!(of("tests/a.test.lua"), (all.to_owned(), true));
        assert_eq!(of("tests/d.test.lua"), ("tests/d.test.lua".to_owned(), false));
    }
}
