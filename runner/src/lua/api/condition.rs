//! Values that are no conditions: handles and results of the API, which Lua takes for true whatever happened.
//!
//! Input: a value that a test gives for a condition. Output: what it is, and what to write in its place; or
//! nothing, for a value that can be false. Not here: Lua's own values. A string or a table of the test's own
//! is true as well, and often what a test means to ask for.

use mlua::{Table, Value};

use super::raise::Raise;
use super::value::type_name;

/// Key, in the metatable of a result, of what to write in place of the result.
pub(super) const RESULT: &str = "__condition";
/// Key, in the metatable of every userdata of the API, of the name before the colon.
pub(super) const HANDLE: &str = "__handle";

/// Makes a table a result that is no condition by itself: its type's name, and what to write in its place.
pub(crate) fn set_result(table: &Table, meta: &Table, name: &str, instead: &str) -> mlua::Result<()> {
    meta.raw_set("__name", name)?;
    meta.raw_set(RESULT, instead)?;
    table.set_metatable(Some(meta.clone()))
}

/// Why a result of a command is no condition; `None` for any other value.
pub(crate) fn not_a_condition(value: &Value) -> Option<String> {
    let (name, instead) = match value {
        Value::Table(table) => {
            let meta = table.metatable()?;
            let text = |key: &str| meta.raw_get::<Option<String>>(key).ok().flatten();
            (text("__name")?, text(RESULT)?)
        }
        Value::UserData(userdata) => {
            let instead = userdata.metatable().ok()?.get::<Option<String>>(RESULT).ok()??;
            (type_name(value), instead)
        }
        _ => return None,
    };
    Some(format!("a {name}, which is always true; write {instead}"))
}

/// Why a handle or a result of the API is no condition; `None` for any other value.
pub(crate) fn always_true(value: &Value) -> Option<String> {
    not_a_condition(value).or_else(|| {
        let Value::UserData(userdata) = value else {
            return None;
        };
        let prefix = userdata.metatable().ok()?.get::<Option<String>>(HANDLE).ok()??;
        Some(format!(
            "a {}, which is always true; ask it something, with `{prefix}:…` or `==`",
            type_name(value)
        ))
    })
}

/// The failure of a call that was given such a value for a condition.
pub(crate) fn refusal(what: &str, why: &str) -> Raise {
    Raise::text(format!("{what}: expected a condition, got {why}"))
}
