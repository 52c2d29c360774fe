//! What a call from Lua comes to: results, or something to raise.
//!
//! Input: values and messages. Output: an [`Answer`]. Not here: the position that is put before a message;
//! `binding` does.

use mlua::{Function, IntoLua, Lua, MultiValue, Value};

/// Failure of a call, or a wait in place of a result.
#[derive(Debug)]
pub(crate) enum Raise {
    /// A message; the position of the test's line is put before it.
    Text(String),
    /// A Lua value, raised as it is: an error of the test's own that passes through.
    Value(Value),
    /// No failure: the function is called until it returns true, with true where it may block and false
    /// where the coroutine yields between two calls; and without an argument at the end. The call then has no
    /// result.
    Wait(Function),
}

impl Raise {
    /// A message.
    pub(crate) fn text(message: impl Into<String>) -> Raise {
        Raise::Text(message.into())
    }
}

/// Lua itself failed: out of memory, mostly.
impl From<mlua::Error> for Raise {
    fn from(error: mlua::Error) -> Raise {
        Raise::Text(error.to_string())
    }
}

/// Outcome of a call.
pub(crate) type Answer = Result<MultiValue, Raise>;

/// No result.
pub(crate) fn none() -> Answer {
    Ok(MultiValue::new())
}

/// One result.
pub(crate) fn one(lua: &Lua, value: impl IntoLua) -> Answer {
    Ok(MultiValue::from_vec(vec![value.into_lua(lua)?]))
}
