//! Calling Lua functions as `pcall` does, from Rust.
//!
//! Input: a function and its arguments. Output: true and its results, or false and the error as it was
//! raised. Not here: what an error means.

use mlua::{Function, IntoLuaMulti, Lua, MultiValue, Value};

/// Registry key of Lua's own `pcall`, whatever the test does with the global.
const PCALL: &str = "provium.pcall";
/// Registry key of Lua's own `xpcall`.
const XPCALL: &str = "provium.xpcall";

/// Registry key of Lua's own `load`.
const LOAD: &str = "provium.load";

/// Saves Lua's own `pcall`, `xpcall` and `load` of a fresh Lua state.
pub(crate) fn save(lua: &Lua) -> mlua::Result<()> {
    let own = lua.globals();
    lua.set_named_registry_value(LOAD, own.get::<Function>("load")?)?;
    lua.set_named_registry_value(XPCALL, own.get::<Function>("xpcall")?)?;
    lua.set_named_registry_value(PCALL, own.get::<Function>("pcall")?)
}

/// Lua's own `pcall`: true and the results, or false and the error as it was raised. The arguments go to the
/// function itself: a closure that binds them would put its internal name before Lua's own messages.
pub(crate) fn protected(lua: &Lua, function: &Function, args: impl IntoLuaMulti) -> mlua::Result<MultiValue> {
    let mut all = args.into_lua_multi(lua)?;
    all.push_front(Value::Function(function.clone()));
    pcall(lua)?.call(all)
}

/// Lua's own `pcall`.
pub(crate) fn pcall(lua: &Lua) -> mlua::Result<Function> {
    lua.named_registry_value(PCALL)
}

/// Lua's own `xpcall`.
pub(crate) fn xpcall(lua: &Lua) -> mlua::Result<Function> {
    lua.named_registry_value(XPCALL)
}

/// Lua's own `load`, which takes bytecode.
pub(crate) fn own_load(lua: &Lua) -> mlua::Result<Function> {
    lua.named_registry_value(LOAD)
}
