//! The API as LuaLS reads it, for editors.
//!
//! Input: the tables that register the API. Output: a Lua file of empty functions with annotations. Not here:
//! any text of its own about what a method does.

use std::fmt::Write;

use crate::lua::kinds::{Described, Entry, kinds};
use crate::lua::test::globals::GLOBALS;

/// Modules of Lua's own, which an editor knows.
const LUA_MODULES: [&str; 9] = [
    "coroutine",
    "debug",
    "io",
    "math",
    "os",
    "package",
    "string",
    "table",
    "utf8",
];

/// The stubs, as the text of a Lua file.
pub fn stubs() -> String {
    let mut text = String::from(
        "---@meta provium\n\n-- The API of Provium's test files, for editors. Written by `provium lsp-setup`; \
         changes are \
         lost.\n",
    );
    for kind in kinds() {
        describe(&mut text, &kind);
    }
    text.push_str("\n---The root lab of the file.\n---@type Lab\nprovium = {}\n");
    let mut modules: Vec<&str> = GLOBALS
        .iter()
        .filter_map(|global| Some(global.name.split_once('.')?.0))
        .filter(|module| !LUA_MODULES.contains(module))
        .collect();
    modules.dedup();
    for module in modules {
        let _ = write!(text, "\n{module} = {{}}\n");
    }
    for global in &GLOBALS {
        let entry = Entry {
            name: global.name,
            ty: global.signature,
            doc: global.doc,
        };
        function(&mut text, "", &entry);
    }
    text
}

fn describe(text: &mut String, kind: &Described) {
    let name = kind.name;
    let _ = write!(text, "\n---@class {name}\n");
    for field in &kind.fields {
        let _ = write!(text, "---{}\n---@field {} {}\n", field.doc, field.name, field.ty);
    }
    if let Some(others) = kind.others {
        let _ = writeln!(text, "---@field [string] {others}");
    }
    let _ = writeln!(text, "local {name} = {{}}");
    for method in &kind.methods {
        function(text, &format!("{name}:"), method);
    }
}

fn function(text: &mut String, of: &str, entry: &Entry) {
    let (parameters, results) = parts(entry.ty);
    let _ = write!(text, "\n---{}\n", entry.doc);
    let mut names = Vec::new();
    for parameter in parameters {
        let (name, ty) = parameter.split_once(": ").unwrap_or((parameter, "any"));
        let _ = writeln!(text, "---@param {name} {ty}");
        names.push(name.trim_end_matches('?'));
    }
    for result in results {
        let _ = writeln!(text, "---@return {result}");
    }
    let _ = writeln!(text, "function {of}{}({}) end", entry.name, names.join(", "));
}

/// The parameters and the results of a signature.
fn parts(signature: &str) -> (Vec<&str>, Vec<&str>) {
    let end = matching(signature).unwrap_or(signature.len().saturating_sub(1));
    let parameters = signature.get(1..end).unwrap_or_default();
    let results = signature.get(end + 1..).unwrap_or_default();
    (
        split(parameters),
        split(results.strip_prefix(": ").unwrap_or_default()),
    )
}

/// Position of the bracket that closes the one at the start of the text.
fn matching(text: &str) -> Option<usize> {
    let mut depth = 0;
    text.char_indices().find_map(|(at, c)| {
        match c {
            '(' | '{' | '[' | '<' => depth += 1,
            ')' | '}' | ']' | '>' => depth -= 1,
            _ => {}
        }
        (depth == 0).then_some(at)
    })
}

/// The parts between commas that are in no brackets.
fn split(text: &str) -> Vec<&str> {
    let mut depth = 0;
    text.split(|c| {
        match c {
            '(' | '{' | '[' | '<' => depth += 1,
            ')' | '}' | ']' | '>' => depth -= 1,
            _ => {}
        }
        c == ',' && depth == 0
    })
    .map(str::trim)
    .filter(|part| !part.is_empty())
    .collect()
}
