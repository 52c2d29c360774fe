//! A fresh Lua state with the standard libraries.
//!
//! Input: the script it is for, and the folders that `require` looks in. Output: a state whose output goes
//! into the test's log and whose code can be ended from outside. Not here: the globals of a test file; and a
//! sandbox, since tests are the user's own code. The `debug` library and C modules are left out because they
//! can break the state itself.

use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::rc::Rc;

use mlua::{Lua, LuaOptions, StdLib, Table, Value};

use super::guards;
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
    guards::set(&lua)?;
    let package: Table = own.get("package")?;
    package.set("path", lua.create_string(search_path(folders))?)?;
    package.set("cpath", "")?;
    Ok(lua)
}

/// `package.path` with these folders, as far as it can name them.
fn search_path(folders: &[&Path]) -> Vec<u8> {
    let named = folders.iter().filter(|folder| can_be_named(folder));
    let templates = named.flat_map(|folder| ["/?.lua", "/?/init.lua"].map(|end| (folder, end)));
    let templates = templates.map(|(folder, end)| [folder.as_os_str().as_bytes(), end.as_bytes()].concat());
    templates.collect::<Vec<_>>().join(&b';')
}

/// Whether `package.path` can name a folder: it has other uses for `;` and `?`.
pub(crate) fn can_be_named(folder: &Path) -> bool {
    !folder
        .as_os_str()
        .as_bytes()
        .iter()
        .any(|byte| b";?".contains(byte))
}
