//! `provium.pack` and `provium.unpack`: structs of little-endian integers without padding.
//!
//! Input: names of types between white space, and values or bytes. Output: the other; what does not fit
//! raises with the position of its field. With the lab before a colon both are Lua's own `string.pack` and
//! `string.unpack`. Not here: strings, floats and alignment.

use mlua::{Function, Lua, MultiValue, Table, Value};
use provium_base::nearest::nearest;

use crate::lua::api::binding::{function, this};
use crate::lua::api::call::Call;
use crate::lua::api::protect::protected;
use crate::lua::api::raise::{Answer, Raise, one};
use crate::lua::api::text::plain;
use crate::lua::api::value::{integer, text_of};
use crate::lua::objects::lab::handle::Lab;

/// Name, bytes and whether it has a sign.
const TYPES: [(&str, usize, bool); 8] = [
    ("u8", 1, false),
    ("i8", 1, true),
    ("u16", 2, false),
    ("i16", 2, true),
    ("u32", 4, false),
    ("i32", 4, true),
    ("u64", 8, false),
    ("i64", 8, true),
];

/// One field of a format.
struct Field {
    name: &'static str,
    size: usize,
    signed: bool,
    /// Number of the field, from 1.
    position: usize,
}

impl Field {
    fn fail(&self, call: &Call<'_>, message: impl std::fmt::Display) -> Raise {
        call.fail(format_args!("field {} ({}): {message}", self.position, self.name))
    }

    fn range(&self) -> (i128, i128) {
        let bits = self.size * 8;
        match self.signed {
            true => (-(1 << (bits - 1)), (1 << (bits - 1)) - 1),
            false => (0, (1 << bits) - 1),
        }
    }
}

/// `provium.pack`.
pub(super) fn pack(lua: &Lua) -> mlua::Result<Function> {
    function(lua, "provium.pack", |call| {
        if this::<Lab>(call.arg(0)).is_some() {
            return luas_own(call, "pack");
        }
        let fields = fields(call)?;
        let mut bytes = Vec::new();
        for field in &fields {
            let value = number(call, field)?;
            bytes.extend(&value.to_le_bytes()[..field.size]);
        }
        if call.given() > fields.len() + 1 {
            let values = call.given() - 1;
            return Err(call.fail(format_args!(
                "the format has {} field(s), got {values} values",
                fields.len()
            )));
        }
        one(call.lua(), call.lua().create_string(bytes)?)
    })
}

/// The value for a field, its bits in the low bytes.
fn number(call: &Call<'_>, field: &Field) -> Result<i128, Raise> {
    const TWO_64: f64 = 18_446_744_073_709_551_616.0;
    let (low, high) = field.range();
    let out_of_range =
        |shown: String| field.fail(call, format_args!("{shown} is out of range ({low} to {high})"));
    let value = call.arg(field.position);
    let number = match value {
        Value::Nil => return Err(field.fail(call, "the value is missing")),
        // Lua's integers have 64 bits and a sign; the upper half of u64 are its negative ones.
        Value::Integer(value) if field.name == "u64" => i128::from(value.cast_unsigned()),
        Value::Number(value) if value.fract() == 0.0 && value.abs() < TWO_64 => *value as i128,
        Value::Number(value) if value.fract() == 0.0 || value.is_infinite() => {
            return Err(out_of_range(value.to_string()));
        }
        value => integer(value)
            .map_err(|message| field.fail(call, message))?
            .into(),
    };
    match (low..=high).contains(&number) {
        true => Ok(number),
        false => Err(out_of_range(number.to_string())),
    }
}

/// `provium.unpack`.
pub(super) fn unpack(lua: &Lua) -> mlua::Result<Function> {
    function(lua, "provium.unpack", |call| {
        if this::<Lab>(call.arg(0)).is_some() {
            return luas_own(call, "unpack");
        }
        call.at_most(2)?;
        let fields = fields(call)?;
        let data = match plain(call.arg(1)) {
            Value::String(data) => data,
            other => return Err(call.wrong("a string of packed bytes", &other)),
        };
        let data = data.as_bytes();
        let (mut values, mut at) = (MultiValue::new(), 0);
        for field in &fields {
            let Some(bytes) = data.get(at..at + field.size) else {
                return Err(field.fail(
                    call,
                    format_args!(
                        "needs {} byte(s) at offset {at}, the string has {}",
                        field.size,
                        data.len()
                    ),
                ));
            };
            let negative = field.signed && bytes[field.size - 1] & 0x80 != 0;
            let mut word = [if negative { 0xff } else { 0 }; 8];
            word[..field.size].copy_from_slice(bytes);
            values.push_back(Value::Integer(i64::from_le_bytes(word)));
            at += field.size;
        }
        Ok(values)
    })
}

/// The fields of the format in the first argument.
fn fields(call: &Call<'_>) -> Result<Vec<Field>, Raise> {
    let format = call.string(0, "a string as format")?.to_string_lossy();
    let mut fields = Vec::new();
    for (index, word) in format.split_whitespace().enumerate() {
        let Some((name, size, signed)) = TYPES.into_iter().find(|(name, ..)| *name == word) else {
            let position = index + 1;
            let hint = match nearest(word, TYPES.iter().map(|(name, ..)| *name)) {
                Some(near) => format!("did you mean `{near}`?"),
                None => "there are u8, i8, u16, i16, u32, i32, u64 and i64; with a colon, \
                         `provium:pack`, the format is Lua's own"
                    .to_owned(),
            };
            return Err(call.fail(format_args!("field {position}: unknown type `{word}`; {hint}")));
        };
        fields.push(Field {
            name,
            size,
            signed,
            position: index + 1,
        });
    }
    Ok(fields)
}

/// `string.pack` or `string.unpack` with the arguments behind the lab.
fn luas_own(call: &mut Call<'_>, name: &str) -> Answer {
    call.take_self();
    let strings: Table = call.lua().globals().get("string")?;
    let own: Function = strings.get(name)?;
    let args: MultiValue = (0..call.count()).map(|at| call.arg(at).clone()).collect();
    let mut result = protected(call.lua(), &own, args)?;
    match result.pop_front() {
        Some(Value::Boolean(true)) => Ok(result),
        _ => {
            let error = text_of(&result.pop_front().unwrap_or(Value::Nil));
            Err(Raise::text(format!("provium:{name}: {error}")))
        }
    }
}
