//! Lua's own functions in the form in which their code can be ended, from `guards.lua`.
//!
//! Input: a fresh Lua state. Output: the same with those functions for its globals; what `require` makes of a
//! module. Not here: the hook that ends code (`api::interrupt`), and where modules are looked for.

use mlua::{Function, Lua, Table};

use crate::lua::api::prelude::PRELUDE;

/// Registry key of the table of `guards.lua`.
const KEY: &str = "provium.guards";

/// Sets the functions, and takes away `string.dump`: what it makes is not run.
pub(super) fn set(lua: &Lua) -> mlua::Result<()> {
    let guards: Table = lua.load(include_str!("guards.lua")).set_name(PRELUDE).call(())?;
    let own = lua.globals();
    for name in ["xpcall", "setmetatable"] {
        own.set(name, guards.get::<Function>(name)?)?;
    }
    let coroutine: Table = own.get("coroutine")?;
    for name in ["create", "wrap"] {
        coroutine.set(name, guards.get::<Function>(name)?)?;
    }
    own.get::<Table>("string")?.set("dump", mlua::Nil)?;
    lua.set_named_registry_value(KEY, guards)
}

/// A module's chunk as `require` runs it: what gave no value says so where it is used.
pub(crate) fn module(lua: &Lua, chunk: Function) -> mlua::Result<Function> {
    let loaded: Table = lua.globals().get::<Table>("package")?.get("loaded")?;
    let guards: Table = lua.named_registry_value(KEY)?;
    guards.get::<Function>("module")?.call((chunk, loaded))
}
