//! The few functions that must be Lua, from `prelude.lua`.
//!
//! Input: a Lua state. Output: a table of functions, loaded once per state. Not here: what is public to
//! tests.

use mlua::{Lua, Table};

/// Name of the prelude's chunk; frames of it are never "the test's own line".
pub(crate) const PRELUDE: &str = "=[provium]";

/// The functions of `prelude.lua`, loaded once per Lua state.
pub(crate) fn prelude(lua: &Lua) -> mlua::Result<Table> {
    const KEY: &str = "provium.prelude";
    if let Some(table) = lua.named_registry_value::<Option<Table>>(KEY)? {
        return Ok(table);
    }
    let table: Table = lua.load(include_str!("prelude.lua")).set_name(PRELUDE).call(())?;
    lua.set_named_registry_value(KEY, &table)?;
    Ok(table)
}
