//! Calling Lua functions as `pcall` does, from Rust.
//!
//! Input: a function and its arguments. Output: true and its results, or false and the error as it was
//! raised. Not here: what an error means.

use mlua::{Function, IntoLuaMulti, Lua, MultiValue, Value};

/// Registry key of Lua's own `pcall`, whatever the test does with the global.
const PCALL: &str = "provium.pcall";
/// Registry key of Lua's own `xpcall`.
const XPCALL: &str = "provium.xpcall";

/// Saves `pcall` and `xpcall` of a fresh Lua state. The globals stay Lua's own, so that coroutines can yield
/// through them.
pub(crate) fn save(lua: &Lua) -> mlua::Result<()> {
    let own = lua.globals();
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
