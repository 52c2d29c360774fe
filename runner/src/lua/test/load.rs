//! The globals `dofile` and `os.exit`, and `require` as a fixture's source has it.
//!
//! Input: paths and names of modules. Output: what the files return; in a fixture's source, each file is
//! noted as an input. Not here: where modules are looked for; that is Lua's `package.path`.

use std::path::PathBuf;

use mlua::{Function, Lua, Table, Value};
use provium_cache::Input;

use crate::lua::api::binding::function;
use crate::lua::api::call::Call;
use crate::lua::api::protect::protected;
use crate::lua::api::raise::{Answer, Raise, none};

/// `dofile(path)`: relative to the project's folder.
pub(crate) fn dofile(call: &mut Call<'_>) -> Answer {
    let chunk = load(call)?;
    let mut result = protected(call.lua(), &chunk, ())?;
    match result.pop_front() {
        Some(Value::Boolean(true)) => Ok(result),
        _ => Err(Raise::Value(result.pop_front().unwrap_or(Value::Nil))),
    }
}

fn load(call: &Call<'_>) -> Result<Function, Raise> {
    let path = call.name(0, "a string as path")?;
    let full = call.file().project().join(&path);
    call.takes_in_file(&full)?;
    let source =
        std::fs::read(&full).map_err(|error| call.fail(format_args!("{}: {error}", full.display())))?;
    call.lua()
        .load(source)
        .set_name(format!("@{path}"))
        .set_mode(mlua::chunk::ChunkMode::Text)
        .into_function()
        .map_err(|error| match error {
            mlua::Error::SyntaxError { message, .. } => call.fail(message),
            error => call.fail(error),
        })
}

/// `os.exit`: would take every other test of the run with it.
pub(crate) fn exit(call: &mut Call<'_>) -> Answer {
    match call.file().running() {
        Some(_) => Err(call.fail("a test cannot end the process; use t:fail, t:skip or return")),
        None => Err(call.fail("a test file cannot end the process; use error or return")),
    }
    .and_then(|()| none())
}

/// Makes `require` note what it finds, and what it looked for before.
pub(crate) fn watch_require(lua: &Lua) -> mlua::Result<()> {
    let original: Function = lua.globals().get("require")?;
    let watched = function(lua, "require", move |call| {
        let name = call.name(0, "a string as the module's name")?;
        let package: Table = call.lua().globals().get("package")?;
        let loaded: Value = package.get::<Table>("loaded")?.get(name.as_str())?;
        if loaded.is_nil() {
            let path: String = package.get("path")?;
            note_module(call, &name, &path)?;
        }
        let mut result = protected(call.lua(), &original, call.arg(0))?;
        match result.pop_front() {
            Some(Value::Boolean(true)) => Ok(result),
            _ => Err(Raise::Value(result.pop_front().unwrap_or(Value::Nil))),
        }
    })?;
    lua.globals().set("require", watched)
}

fn note_module(call: &Call<'_>, name: &str, path: &str) -> Result<(), Raise> {
    let file = name.replace('.', "/");
    for candidate in path
        .split(';')
        .map(|pattern| PathBuf::from(pattern.replace('?', &file)))
    {
        let found = candidate.is_file();
        let input = match found {
            true => Input::Helper {
                name: name.to_owned(),
                path: candidate,
            },
            // One that appears there later would be found first.
            false => Input::HostFile { path: candidate },
        };
        call.takes_in(input)?;
        if found {
            break;
        }
    }
    Ok(())
}
