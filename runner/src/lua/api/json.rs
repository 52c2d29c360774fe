//! `json.encode` and `json.decode`.
//!
//! Input: Lua values or JSON text. Output: the other. Integers stay integers: what lies between i64's and
//! u64's largest keeps its bits. Not here: a null value; null is nil, so an array with nulls is a table with
//! gaps.

use mlua::{Lua, Table, Value};
use serde_json::{Map, Number};

use crate::lua::api::call::Call;
use crate::lua::api::raise::{Answer, one};
use crate::lua::api::value::{text_of, type_name};

/// Deepest nesting, the same both ways.
const DEPTH_MAX: usize = 127;
/// Arrays up to this length may consist of gaps almost only.
const SPARSE_MAX: usize = 100_000;

/// `json.encode(value)`.
pub(crate) fn encode(call: &mut Call<'_>) -> Answer {
    let value = to_json(call.arg(0), &mut Vec::new()).map_err(|message| call.fail(message))?;
    one(call.lua(), value.to_string())
}

/// `json.decode(text)`.
pub(crate) fn decode(call: &mut Call<'_>) -> Answer {
    let text = call.string(0, "a string of JSON")?;
    let value = parse(call.lua(), &text.as_bytes()).map_err(|error| call.fail(error))?;
    one(call.lua(), value)
}

/// The value that a JSON text stands for, or what is wrong with it, with line and column.
pub(crate) fn parse(lua: &Lua, text: &[u8]) -> Result<Value, String> {
    let value: serde_json::Value = serde_json::from_slice(text).map_err(|error| error.to_string())?;
    from_json(lua, &value).map_err(|error| error.to_string())
}

/// `above` are the tables this value is in.
fn to_json(value: &Value, above: &mut Vec<usize>) -> Result<serde_json::Value, String> {
    match value {
        Value::Nil => Ok(serde_json::Value::Null),
        Value::Boolean(value) => Ok((*value).into()),
        Value::Integer(value) => Ok((*value).into()),
        Value::Number(value) => Number::from_f64(*value)
            .map(serde_json::Value::Number)
            .ok_or_else(|| format!("{value} has no form in JSON")),
        Value::String(text) => match text.to_str() {
            Ok(text) => Ok(serde_json::Value::String(text.to_owned())),
            Err(_) => Err("a string that is not UTF-8 has no form in JSON".to_owned()),
        },
        Value::Table(table) => {
            let pointer = table.to_pointer() as usize;
            if above.contains(&pointer) {
                return Err("a table that contains itself has no form in JSON".to_owned());
            }
            if above.len() == DEPTH_MAX {
                return Err(format!(
                    "tables more than {DEPTH_MAX} levels deep cannot be encoded"
                ));
            }
            above.push(pointer);
            let encoded = table_to_json(table, above);
            above.pop();
            encoded
        }
        other => Err(format!("a {} has no form in JSON", type_name(other))),
    }
}

fn table_to_json(table: &Table, above: &mut Vec<usize>) -> Result<serde_json::Value, String> {
    let pairs: Vec<(Value, Value)> = table
        .pairs::<Value, Value>()
        .collect::<mlua::Result<_>>()
        .map_err(|error| error.to_string())?;
    let index = |key: &Value| match key {
        Value::Integer(at) => usize::try_from(*at).ok().filter(|at| *at > 0),
        _ => None,
    };
    let length = pairs
        .iter()
        .map(|(key, _)| index(key))
        .try_fold(0, |most, at| Some(at?.max(most)));
    if let Some(length) = length.filter(|length| *length > 0) {
        if length > SPARSE_MAX && length / 10 > pairs.len() {
            return Err(format!(
                "an array of {length} items of which {} exist is too sparse",
                pairs.len()
            ));
        }
        let mut items = vec![serde_json::Value::Null; length];
        for (key, value) in &pairs {
            if let Some(slot) = index(key).and_then(|at| items.get_mut(at - 1)) {
                *slot = to_json(value, above)?;
            }
        }
        return Ok(items.into());
    }
    let mut object = Map::new();
    for (key, value) in &pairs {
        let name = match key {
            Value::String(name) => name
                .to_str()
                .map_err(|_| "a key that is not UTF-8 has no form in JSON")?
                .to_owned(),
            Value::Integer(_) | Value::Number(_) => text_of(key),
            other => return Err(format!("a {} as key has no form in JSON", type_name(other))),
        };
        object.insert(name, to_json(value, above)?);
    }
    Ok(object.into())
}

fn from_json(lua: &Lua, value: &serde_json::Value) -> mlua::Result<Value> {
    Ok(match value {
        serde_json::Value::Null => Value::Nil,
        serde_json::Value::Bool(value) => Value::Boolean(*value),
        serde_json::Value::Number(number) => match (number.as_i64(), number.as_u64(), number.as_f64()) {
            (Some(value), _, _) => Value::Integer(value),
            (None, Some(value), _) => Value::Integer(value.cast_signed()),
            (None, None, value) => Value::Number(value.unwrap_or(f64::NAN)),
        },
        serde_json::Value::String(text) => Value::String(lua.create_string(text)?),
        serde_json::Value::Array(items) => {
            let table = lua.create_table_with_capacity(items.len(), 0)?;
            for (at, item) in items.iter().enumerate() {
                table.raw_set(at + 1, from_json(lua, item)?)?;
            }
            Value::Table(table)
        }
        serde_json::Value::Object(entries) => {
            let table = lua.create_table_with_capacity(0, entries.len())?;
            for (key, value) in entries {
                table.raw_set(key.as_str(), from_json(lua, value)?)?;
            }
            Value::Table(table)
        }
    })
}
