//! Calls of what is not there, where a key that is not there is nil by contract.
//!
//! Input: the last such key of an object of ours, and the error that Lua raises when it is called. Output: an
//! error that names the object and the nearest of what it has. Not here: userdata whose absent keys are
//! errors by themselves (`binding`).

use mlua::{Lua, LuaString, Value};
use provium_base::nearest::nearest;

/// How Lua begins to say that something cannot be called.
const NIL_CALLED: &str = "attempt to call a nil value (";

/// A key that was looked for and is not there.
struct Absent {
    owner: String,
    key: String,
    names: Box<dyn Fn() -> Vec<&'static str>>,
}

/// Notes that `owner` has no `key`; `names` are those that it has.
pub(crate) fn note(lua: &Lua, owner: &str, key: &str, names: impl Fn() -> Vec<&'static str> + 'static) {
    lua.set_app_data(Absent {
        owner: owner.to_owned(),
        key: key.to_owned(),
        names: Box::new(names),
    });
}

/// The error in better words, if it is that of a call of what is not there.
pub(crate) fn explain(lua: &Lua, error: Value) -> mlua::Result<Value> {
    let Value::String(text) = &error else {
        return Ok(error);
    };
    match explanation(lua, &text.to_string_lossy()) {
        Some(better) => lua.create_string(better).map(Value::String),
        None => Ok(error),
    }
}

fn explanation(lua: &Lua, text: &str) -> Option<String> {
    let (place, rest) = text.split_once(NIL_CALLED)?;
    let (sort, key) = rest.strip_suffix("')")?.split_once(" '")?;
    let hint = |near: Option<&str>| near.map(|near| format!("; did you mean `{near}`?"));
    if sort == "global" {
        let globals = lua.globals();
        let names = globals.pairs::<LuaString, Value>();
        let names: Vec<String> = names
            .filter_map(|pair| Some(pair.ok()?.0.to_string_lossy()))
            .collect();
        let hint = hint(nearest(key, names.iter().map(String::as_str)))?;
        return Some(format!("{place}there is no global `{key}`{hint}"));
    }
    let absent = lua.app_data_ref::<Absent>()?;
    if absent.key != key {
        return None;
    }
    let sort = if sort == "method" { "method" } else { "function" };
    let hint = hint(nearest(key, (absent.names)().into_iter())).unwrap_or_default();
    Some(format!("{place}{} has no {sort} `{key}`{hint}", absent.owner))
}
