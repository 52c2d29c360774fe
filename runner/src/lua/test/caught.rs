//! Errors that leave a file's own code, caught with the line they came from.
//!
//! Input: a function of Lua's. Output: its results, or a [`Caught`]. Not here: what the error means for a
//! test.

use std::cell::RefCell;
use std::rc::Rc;

use mlua::{Function, IntoLuaMulti, Lua, Value};

use crate::lua::api::location::Place;
use crate::lua::api::protect::xpcall;
use crate::lua::api::value::text_of;
use crate::lua::api::{absent, location, render};

/// An error that left protected code.
pub(crate) struct Caught {
    /// The error in words, with its place if it has one.
    pub(super) text: String,
    /// Line of the test file that ran when it was raised.
    pub(super) line: Option<u32>,
    /// The place in another file that ran then, if one did.
    pub(super) helper: Option<Place>,
}

impl Caught {
    /// An error that no line of the user's raised.
    pub(super) fn without_place(text: String) -> Caught {
        Caught {
            text,
            line: None,
            helper: None,
        }
    }

    /// Whether the error was raised with this text; a coroutine puts a place of its own before what leaves
    /// it.
    pub(super) fn is(&self, raised: &str) -> bool {
        self.text.ends_with(raised)
    }
}

/// Calls a function for its effects.
pub(super) fn protect(lua: &Lua, function: &Function, args: impl IntoLuaMulti) -> Option<Caught> {
    protect_values(lua, function, args).err()
}

/// Calls a function as Lua's `xpcall` does; the line is taken while the stack is still there.
pub(super) fn protect_values(
    lua: &Lua,
    function: &Function,
    args: impl IntoLuaMulti,
) -> Result<mlua::MultiValue, Caught> {
    let place = Rc::new(RefCell::new((None, None)));
    let noted = Rc::clone(&place);
    let call = || -> mlua::Result<mlua::MultiValue> {
        let handler = lua.create_function(move |lua, error: Value| {
            *noted.borrow_mut() = (location::in_test_file(lua), location::in_helper(lua));
            absent::explain(lua, error)
        })?;
        let mut given = args.into_lua_multi(lua)?;
        given.push_front(Value::Function(handler));
        given.push_front(Value::Function(function.clone()));
        xpcall(lua)?.call(given)
    };
    let text = match call() {
        Ok(mut result) => match result.pop_front() {
            Some(Value::Boolean(true)) => return Ok(result),
            _ => error_text(&result.pop_front().unwrap_or(Value::Nil)),
        },
        Err(error) => error.to_string(),
    };
    let (line, helper) = place.take();
    Err(Caught { text, line, helper })
}

/// An error value in words.
fn error_text(error: &Value) -> String {
    match error {
        Value::String(text) => text.to_string_lossy(),
        Value::Error(error) => {
            let mut cause: &mlua::Error = error;
            while let mlua::Error::CallbackError { cause: inner, .. } = cause {
                cause = inner;
            }
            cause.to_string()
        }
        Value::UserData(_) => text_of(error),
        other => format!("error value: {}", render::value(other)),
    }
}
