//! The globals of a test file, as tables that also say what each is for.
//!
//! Input: a Lua state. Output: its globals, all but the root lab. Editor stubs and the check of the reference
//! read the same tables. Not here: what Lua's own libraries have.

use mlua::Lua;

use super::{assertions, host_command, load, register, wait};
use crate::lua::api::absent;
use crate::lua::api::binding::function;
use crate::lua::api::call::Call;
use crate::lua::api::json;
use crate::lua::api::raise::Answer;

/// A function of the API that belongs to no object.
pub(crate) struct Global {
    /// Name, with its module's before a dot.
    pub(crate) name: &'static str,
    /// Parameters and result in LuaLS's notation.
    pub(crate) signature: &'static str,
    /// Description in one sentence.
    pub(crate) doc: &'static str,
    /// Function that a call runs.
    run: fn(&mut Call<'_>) -> Answer,
}

/// All globals but `provium`.
pub(crate) const GLOBALS: [Global; 15] = [
    Global {
        name: "test",
        signature: "(name: string, meta: table|fun(t: t), body?: fun(t: t))",
        doc: "Registers a test; in a file with VMs of the classic dialect it runs at once.",
        run: register::register,
    },
    Global {
        name: "todo",
        signature: "(reason?: any)",
        doc: "Skips the running test; at file scope every test of the file.",
        run: register::todo,
    },
    Global {
        name: "wait_until",
        signature: "(pred: fun(): any, opts?: {timeout?: number|string, interval?: number|string, desc?: string}): any",
        doc: "Calls a function until it returns something true, and returns that.",
        run: wait::wait_until,
    },
    Global {
        name: "assert",
        signature: "(condition: any, message?: any, ...: any): any",
        doc: "Raises unless the condition is true; returns its arguments.",
        run: assertions::assert,
    },
    Global {
        name: "assert_eq",
        signature: "(expected: any, actual: any, message?: any)",
        doc: "Raises unless both are equal; tables are compared by content.",
        run: assertions::assert_eq,
    },
    Global {
        name: "assert_contains",
        signature: "(haystack: string|Text, needle: string|Text, message?: any)",
        doc: "Raises unless `needle` occurs in `haystack`, taken literally.",
        run: assertions::assert_contains,
    },
    Global {
        name: "json.encode",
        signature: "(value: any): string",
        doc: "A value as JSON.",
        run: json::encode,
    },
    Global {
        name: "json.decode",
        signature: "(text: string): any",
        doc: "The value that JSON stands for.",
        run: json::decode,
    },
    Global {
        name: "print",
        signature: "(...: any)",
        doc: "Writes a line to the log of the running test; at file scope to the next test's.",
        run: register::print,
    },
    Global {
        name: "dofile",
        signature: "(path: string): any",
        doc: "Runs a Lua file, relative to the project's folder.",
        run: load::dofile,
    },
    Global {
        name: "os.execute",
        signature: "(command?: string): boolean?, string?, integer?",
        doc: "Runs a command of the host, its output on standard error, until the test's limit at most.",
        run: host_command::execute,
    },
    Global {
        name: "io.popen",
        signature: "(command: string, mode?: \"r\"|\"w\"): file*?, string?, integer?",
        doc: "Starts a command of the host and returns a file to read its output or to write its input.",
        run: host_command::popen,
    },
    Global {
        name: "loadfile",
        signature: "(path: string, mode?: string, env?: table): function?, string?",
        doc: "A Lua file as a function, relative to the project's folder.",
        run: load::loadfile,
    },
    Global {
        name: "load",
        signature: "(chunk: string|fun(): string?, name?: string, mode?: string, env?: any): function?, string?",
        doc: "Source text as a function; bytecode is refused.",
        run: load::load,
    },
    Global {
        name: "os.exit",
        signature: "()",
        doc: "Is an error: a test cannot end the run.",
        run: load::exit,
    },
];

/// Sets the globals of a Lua state.
pub(crate) fn set(lua: &Lua) -> mlua::Result<()> {
    host_command::install(lua)?;
    for global in GLOBALS {
        let value = function(lua, global.name, global.run)?;
        match global.name.split_once('.') {
            None => lua.globals().set(global.name, value)?,
            Some((module, name)) => {
                let table = match lua.globals().get::<Option<mlua::Table>>(module)? {
                    Some(table) => table,
                    None => {
                        let table = lua.create_table()?;
                        table.set_metatable(Some(with_absent(lua, module)?))?;
                        lua.globals().set(module, &table)?;
                        table
                    }
                };
                table.set(name, value)?;
            }
        }
    }
    Ok(())
}

/// The metatable of a module of ours: a key that is not there is nil, and a call of it says so.
fn with_absent(lua: &Lua, module: &'static str) -> mlua::Result<mlua::Table> {
    let functions = move || {
        let names = GLOBALS.iter().filter_map(|global| global.name.split_once('.'));
        let own = names.filter(|(of, _)| *of == module);
        own.map(|(_, name)| name).collect()
    };
    let index = lua.create_function(move |lua, (_, key): (mlua::Value, mlua::Value)| {
        if let mlua::Value::String(key) = key {
            absent::note(lua, module, &key.to_string_lossy(), functions);
        }
        Ok(mlua::Nil)
    })?;
    let meta = lua.create_table()?;
    meta.set("__index", index)?;
    Ok(meta)
}
