//! One call from Lua: its arguments, looked at by what they should be, and the words for what they are not.
//!
//! Input: the arguments as Lua passed them. Output: Rust values, or a [`Raise`] that names the call, what was
//! expected and what came. Not here: coercions beyond Lua's own; a wrong type is an error.

use std::fmt::Display;

use mlua::{Function, Lua, LuaString, MultiValue, Value};

use super::options::Options;
use super::raise::{Answer, Raise};
use super::value::{text_of, type_name};

/// A call and its arguments; the object it is made on is not among them.
pub(crate) struct Call<'a> {
    lua: &'a Lua,
    what: String,
    args: Vec<Value>,
    this: Value,
}

impl<'a> Call<'a> {
    /// A call named `what` in messages.
    pub(crate) fn new(lua: &'a Lua, what: String, args: MultiValue) -> Call<'a> {
        Call {
            lua,
            what,
            args: args.into_vec(),
            this: Value::Nil,
        }
    }

    /// The Lua state.
    pub(crate) fn lua(&self) -> &'a Lua {
        self.lua
    }

    /// Name of the call in messages: `vm:run`.
    pub(crate) fn what(&self) -> &str {
        &self.what
    }

    /// A failure of this call, its name put before it.
    pub(crate) fn fail(&self, message: impl Display) -> Raise {
        Raise::Text(format!("{}: {message}", self.what))
    }

    /// A failure because of a value's type.
    pub(crate) fn wrong(&self, expected: &str, got: &Value) -> Raise {
        self.fail(format_args!("expected {expected}, got {}", type_name(got)))
    }

    /// Takes the first argument away as the object the call is made on.
    pub(crate) fn take_self(&mut self) -> Value {
        self.this = if self.args.is_empty() {
            Value::Nil
        } else {
            self.args.remove(0)
        };
        self.this.clone()
    }

    /// The object the call is made on, for methods that return it.
    pub(crate) fn this(&self) -> Answer {
        Ok(MultiValue::from_vec(vec![self.this.clone()]))
    }

    /// Number of arguments.
    pub(crate) fn count(&self) -> usize {
        self.args.len()
    }

    /// Number of arguments up to the last that is not nil.
    pub(crate) fn given(&self) -> usize {
        self.args
            .iter()
            .rposition(|arg| !arg.is_nil())
            .map_or(0, |last| last + 1)
    }

    /// The argument, nil when absent. Arguments count from 0.
    pub(crate) fn arg(&self, at: usize) -> &Value {
        self.args.get(at).unwrap_or(&Value::Nil)
    }

    /// The argument, by value.
    pub(crate) fn take(&mut self, at: usize) -> Value {
        self.args.get_mut(at).map(std::mem::take).unwrap_or(Value::Nil)
    }

    /// A string; `what` says which: `a string as name`.
    pub(crate) fn string(&self, at: usize, expected: &str) -> Result<LuaString, Raise> {
        match self.arg(at) {
            Value::String(string) => Ok(string.clone()),
            other => Err(self.wrong(expected, other)),
        }
    }

    /// A string of UTF-8 that names something.
    pub(crate) fn name(&self, at: usize, expected: &str) -> Result<String, Raise> {
        let name = self.string(at, expected)?;
        match name.to_str() {
            Ok(text) if !text.is_empty() => Ok(text.to_owned()),
            Ok(_) => Err(self.fail(format_args!("expected {expected}, got an empty string"))),
            Err(_) => Err(self.fail(format_args!("expected {expected}, got bytes that are not UTF-8"))),
        }
    }

    /// A path in the guest.
    pub(crate) fn path(&self, at: usize) -> Result<Vec<u8>, Raise> {
        let path = self.string(at, "a string as path")?;
        let path = path.as_bytes();
        if path.is_empty() {
            return Err(self.fail("the path is empty"));
        }
        if path.contains(&0) {
            let shown = String::from_utf8_lossy(&path);
            return Err(self.fail(format_args!("the path {shown:?} contains a NUL byte")));
        }
        Ok(path.to_vec())
    }

    /// A function.
    pub(crate) fn function(&self, at: usize, expected: &str) -> Result<Function, Raise> {
        match self.arg(at) {
            Value::Function(function) => Ok(function.clone()),
            other => Err(self.wrong(expected, other)),
        }
    }

    /// An optional message: any value, shown as `tostring` does.
    pub(crate) fn message(&self, at: usize) -> Result<Option<String>, Raise> {
        match self.arg(at) {
            Value::Nil => Ok(None),
            value => Ok(Some(text_of(value))),
        }
    }

    /// An optional table of options.
    pub(crate) fn options(&self, at: usize) -> Result<Options<'_>, Raise> {
        match self.arg(at) {
            Value::Nil => Ok(Options::empty(self.lua, &self.what)),
            Value::Table(table) => Options::new(self.lua, &self.what, table.clone()),
            other => Err(self.wrong("a table of options", other)),
        }
    }

    /// Refuses a call without its second value: one that was forgotten is no nil.
    pub(crate) fn two(&self, what: &str) -> Result<(), Raise> {
        match self.args.len() {
            count @ (0 | 1) => Err(self.fail(format_args!(
                "expected two values {what}, got {}; where one is to be nil, write nil",
                ["none", "one"][count]
            ))),
            _ => Ok(()),
        }
    }

    /// Refuses arguments past the first `most`.
    pub(crate) fn at_most(&self, most: usize) -> Result<(), Raise> {
        match self.args.get(most) {
            None | Some(Value::Nil) => Ok(()),
            Some(extra) => Err(self.fail(format_args!(
                "takes at most {most} argument(s), got one more: {}",
                type_name(extra)
            ))),
        }
    }
}
