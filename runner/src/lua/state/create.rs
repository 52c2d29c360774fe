//! A fresh Lua state with the standard libraries and the globals of a test file.
//!
//! Enters: the file. Leaves: a state whose `require` and `dofile` know the project, whose output goes into the
//! test's log and which cannot end the process. Absent on purpose: a sandbox; tests are the user's own code. The
//! `debug` library and C modules are left out because they can break the state itself.

use std::path::Path;
use std::rc::Rc;

use mlua::{Function, Lua, LuaOptions, StdLib, Table, Value};

use crate::fixture::Input;
use crate::lua::api::binding::Kind;
use crate::lua::api::call::{Answer, Call, Raise, none};
use crate::lua::api::interrupt;
use crate::lua::test::file::File;
use crate::lua::test::{fixture, globals, test_run};

/// Where the state keeps Lua's own `xpcall`, whatever the test does with the global.
pub(crate) const XPCALL: &str = "provium.xpcall";

/// A Lua state for `file`.
pub(crate) fn new(file: &Rc<File>) -> mlua::Result<Lua> {
    // Lua's own `pcall` and `xpcall` stay as they are, so that coroutines can yield through them.
    let lua = Lua::new_with(StdLib::ALL_SAFE, LuaOptions::new().catch_rust_panics(true))?;
    lua.set_app_data(Rc::clone(file));
    let own = lua.globals();
    lua.set_named_registry_value(XPCALL, own.get::<Function>("xpcall")?)?;
    lua.set_named_registry_value(test_run::PCALL, own.get::<Function>("pcall")?)?;

    own.set("provium", file.lab.clone().into_userdata(&lua)?)?;
    globals::set(&lua)?;
    // Standard output belongs to the report.
    let io: Table = own.get("io")?;
    io.get::<Function>("output")?
        .call::<()>(io.get::<Value>("stderr")?)?;
    set_require_path(&own.get("package")?, file)?;
    if file.building().is_some() {
        fixture::watch_require(&lua)?;
    }
    interrupt::watch(&lua)?;
    Ok(lua)
}

/// `require` looks below the configuration's roots, then in the project's folder.
fn set_require_path(package: &Table, file: &File) -> mlua::Result<()> {
    let mut folders: Vec<&Path> = file.job().roots.iter().map(|root| root.as_path()).collect();
    if !folders.contains(&file.project()) {
        folders.push(file.project());
    }
    let patterns = folders.iter().flat_map(|folder| {
        let folder = folder.display();
        [format!("{folder}/?.lua"), format!("{folder}/?/init.lua")]
    });
    package.set("path", patterns.collect::<Vec<_>>().join(";"))?;
    package.set("cpath", "")
}

/// `dofile(path)`: relative to the project's folder.
pub(crate) fn dofile(call: &mut Call<'_>) -> Answer {
    let chunk = load(call)?;
    let mut result = test_run::protected(call.lua(), &chunk)?;
    match result.pop_front() {
        Some(Value::Boolean(true)) => Ok(result),
        _ => Err(Raise::Value(result.pop_front().unwrap_or(Value::Nil))),
    }
}

fn load(call: &Call<'_>) -> Result<Function, Raise> {
    let path = call.name(0, "a string as path")?;
    let full = call.file().project().join(&path);
    let input = Input::HostFile { path: full.clone() };
    call.file()
        .takes_in(input)
        .map_err(|message| call.fail(message))?;
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
