//! Editor stubs: nothing is missing, nothing is wrong in form.

use mlua::{Function, Lua, Table, Value};

use crate::lua::kinds::kinds;
use crate::lua::stubs::stubs;
use crate::lua::test::globals::GLOBALS;

#[test]
fn every_method_field_and_global_is_there_once() {
    let text = stubs();
    let once = |line: &str| {
        let count = text.lines().filter(|there| there.starts_with(line)).count();
        assert_eq!(count, 1, "{line}");
    };
    for kind in kinds() {
        once(&format!("local {} = {{}}", kind.name));
        for method in kind.methods {
            once(&format!("function {}:{}(", kind.name, method.name));
        }
        let class = format!("---@class {}\n", kind.name);
        let block = text
            .split(&class)
            .nth(1)
            .and_then(|rest| rest.split("\nlocal ").next())
            .expect(kind.name);
        for field in kind.fields {
            let line = format!("---@field {} {}", field.name, field.ty);
            assert!(block.lines().any(|there| there == line), "{line} in {block}");
        }
    }
    for global in GLOBALS {
        once(&format!("function {}(", global.name));
    }
    once("provium = {}");
}

#[test]
fn the_stubs_are_lua() {
    let lua = Lua::new();
    let chunk = lua.load(stubs()).set_mode(mlua::chunk::ChunkMode::Text);
    chunk.exec().expect("it is valid");
    let globals = lua.globals();
    for global in GLOBALS {
        let function: Function = match global.name.split_once('.') {
            None => globals.get(global.name).expect(global.name),
            Some((module, name)) => {
                let module: Table = globals.get(module).expect(module);
                module.get(name).expect(global.name)
            }
        };
        let info = function.info();
        assert_eq!(info.what, "Lua", "{} is not a stub", global.name);
    }
    assert!(matches!(globals.get("provium"), Ok(Value::Table(_))));
}

#[test]
fn annotations_say_what_the_tables_say() {
    let text = stubs();
    for expected in [
        "---Calls a function until it returns something true, and returns that.\n---@param pred fun(): any\n---@param opts? {timeout?: number|string, interval?: number|string, desc?: string}\n---@return any\nfunction wait_until(pred, opts) end\n",
        "---@param name string\n---@param meta table|fun(t: t)\n---@param body? fun(t: t)\nfunction test(name, meta, body) end\n",
        "---@param ... any\nfunction print(...) end\n",
        "---@return VM\nfunction VM:pause() end\n",
        "---@field [string] VM|Lab|nil\nlocal Lab = {}\n",
        "\njson = {}\n",
    ] {
        assert!(text.contains(expected), "{expected} in {text}");
    }
    assert!(!text.contains("os = {}"));
}

/// A type that no class declares is an unknown type in the editor.
#[test]
fn every_type_is_known() {
    let names: Vec<&str> = kinds().iter().map(|kind| kind.name).collect();
    let text = stubs();
    let annotations = text
        .lines()
        .filter(|line| line.starts_with("---@") && !line.starts_with("---@meta"));
    for line in annotations {
        let quoted = line.split('"').step_by(2); // strings are values, not types
        for word in quoted.flat_map(|part| part.split(|c: char| !c.is_alphanumeric() && c != '_')) {
            if word.starts_with(|c: char| c.is_uppercase()) {
                assert!(names.contains(&word), "{word} in {line}");
            }
        }
    }
}
