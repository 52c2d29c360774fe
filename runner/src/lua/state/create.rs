//! A fresh Lua state with the standard libraries.
//!
//! Input: the script it is for, and the folders that `require` looks in. Output: a state whose output goes
//! into the test's log and whose code can be ended from outside. Not here: the globals of a test file; and a
//! sandbox, since tests are the user's own code. The `debug` library and C modules are left out because they
//! can break the state itself.

use std::path::Path;
use std::rc::Rc;

use mlua::{Lua, LuaOptions, StdLib, Table, Value};

use crate::lua::api::protect;
use crate::lua::api::script::Script;

/// A Lua state for `script`; `folders` are those that `require` looks in, in this order.
pub(crate) fn create(script: &Rc<Script>, folders: &[&Path]) -> mlua::Result<Lua> {
    let lua = Lua::new_with(StdLib::ALL_SAFE, LuaOptions::new().catch_rust_panics(true))?;
    lua.set_app_data(Rc::clone(script));
    protect::save(&lua)?;
    let own = lua.globals();
    // Standard output belongs to the report.
    let io: Table = own.get("io")?;
    let stderr: Value = io.get("stderr")?;
    io.get::<mlua::Function>("output")?.call::<()>(&stderr)?;
    io.set("stdout", stderr)?;
    set_require_path(&own.get("package")?, folders)?;
    Ok(lua)
}

fn set_require_path(package: &Table, folders: &[&Path]) -> mlua::Result<()> {
    let patterns = folders.iter().flat_map(|folder| {
        let folder = folder.display();
        [format!("{folder}/?.lua"), format!("{folder}/?/init.lua")]
    });
    package.set("path", patterns.collect::<Vec<_>>().join(";"))?;
    package.set("cpath", "")
}
