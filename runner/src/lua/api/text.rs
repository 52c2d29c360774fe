//! `Text`: a command's output in the classic dialect.
//!
//! Input: bytes. Output: an object with `.value` and three functions that are called with a dot or a colon,
//! and that behaves as a string under `#`, `..`, `tostring` and, among its own, `==` and `<`. Not here: the
//! methods of Lua's strings; `.value` has them.

use mlua::{Function, Lua, LuaString, Value};

use crate::lua::api::binding::{Field, Kind, Metamethod, Method, function, this};
use crate::lua::api::call::Call;
use crate::lua::api::raise::{Answer, Raise, one};
use crate::lua::api::value::{text_of, type_name};

/// Output of a command in the classic dialect.
#[derive(Clone)]
pub(crate) struct Text(LuaString);

impl Text {
    /// An output of these bytes.
    pub(crate) fn new(value: LuaString) -> Text {
        Text(value)
    }
}

/// The string in a `Text`; any other value as it is.
pub(crate) fn plain(value: &Value) -> Value {
    match this::<Text>(value) {
        Some(text) => Value::String(text.0),
        None => value.clone(),
    }
}

impl Kind for Text {
    const NAME: &'static str = "Text";
    const PREFIX: &'static str = "text";

    fn methods() -> Vec<Method<Text>> {
        Vec::new()
    }

    fn fields() -> Vec<Field<Text>> {
        vec![
            Field {
                name: "value",
                ty: "string",
                doc: "The bytes as a string.",
                get: |_, text| Ok(Value::String(text.0.clone())),
            },
            Field {
                name: "contains",
                ty: "fun(s: string): boolean",
                doc: "Whether a string occurs in it, taken literally.",
                get: |lua, text| {
                    bound(lua, "contains", text, 1, |call, text| {
                        let wanted = needle(call)?;
                        let found = contains(&text.0.as_bytes(), &wanted.as_bytes());
                        one(call.lua(), found)
                    })
                },
            },
            Field {
                name: "starts_with",
                ty: "fun(s: string): boolean",
                doc: "Whether it begins with a string.",
                get: |lua, text| {
                    bound(lua, "starts_with", text, 1, |call, text| {
                        let wanted = needle(call)?;
                        one(call.lua(), text.0.as_bytes().starts_with(&wanted.as_bytes()))
                    })
                },
            },
            Field {
                name: "trim",
                ty: "fun(): string",
                doc: "The string without the white space at both ends.",
                get: |lua, text| {
                    bound(lua, "trim", text, 0, |call, text| {
                        one(
                            call.lua(),
                            call.lua().create_string(text.0.as_bytes().trim_ascii())?,
                        )
                    })
                },
            },
        ]
    }

    fn metamethods() -> Vec<Metamethod> {
        vec![
            Metamethod {
                name: "__len",
                run: |call| match plain(call.arg(0)) {
                    Value::String(text) => one(call.lua(), text.as_bytes().len()),
                    _ => one(call.lua(), 0),
                },
            },
            Metamethod {
                name: "__concat",
                run: |call| {
                    let (mut a, b) = (operand(call, 0)?, operand(call, 1)?);
                    a.extend(b);
                    one(call.lua(), call.lua().create_string(a)?)
                },
            },
            Metamethod {
                name: "__lt",
                run: |call| one(call.lua(), operand(call, 0)? < operand(call, 1)?),
            },
            Metamethod {
                name: "__le",
                run: |call| one(call.lua(), operand(call, 0)? <= operand(call, 1)?),
            },
            Metamethod {
                name: "__tostring",
                run: |call| one(call.lua(), plain(call.arg(0))),
            },
        ]
    }

    fn describe(&self) -> String {
        self.0.to_string_lossy()
    }

    fn same(&self, other: &Text) -> bool {
        self.0.as_bytes() == other.0.as_bytes()
    }
}

/// Whether `needle` occurs in `hay`.
pub(crate) fn contains(hay: &[u8], needle: &[u8]) -> bool {
    needle.is_empty() || hay.windows(needle.len()).any(|window| window == needle)
}

/// An operand of `..` and the like: what Lua's own takes, and a `Text`.
fn operand(call: &Call<'_>, at: usize) -> Result<Vec<u8>, Raise> {
    match plain(call.arg(at)) {
        Value::String(text) => Ok(text.as_bytes().to_vec()),
        number @ (Value::Integer(_) | Value::Number(_)) => Ok(text_of(&number).into_bytes()),
        other => Err(Raise::text(format!(
            "a Text cannot be joined to, or compared with, a {}",
            type_name(&other)
        ))),
    }
}

fn needle(call: &Call<'_>) -> Result<LuaString, Raise> {
    match plain(call.arg(0)) {
        Value::String(text) => Ok(text),
        other => Err(call.wrong("a string to search for", &other)),
    }
}

/// A function of `arity` arguments bound to `text`; a colon puts the object before them.
fn bound(
    lua: &Lua,
    name: &str,
    text: &Text,
    arity: usize,
    body: fn(&mut Call<'_>, &Text) -> Answer,
) -> mlua::Result<Value> {
    let text = text.clone();
    let bound: Function = function(lua, format!("text.{name}"), move |call| {
        if call.count() > arity && this::<Text>(call.arg(0)).is_some() {
            call.take_self();
        }
        call.at_most(arity)?;
        body(call, &text)
    })?;
    Ok(Value::Function(bound))
}
