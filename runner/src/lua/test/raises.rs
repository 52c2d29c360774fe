//! `t:assert_raises`: a function that is to raise an error, and which.
//!
//! Input: a function, and a message or what the error has to hold. Output: the error; a failure where none
//! came, or another. Not here: errors that leave a test's body, which `caught` has.

use mlua::{Function, Table, Value};

use super::t::{T, alive, failure_with};
use crate::lua::api::call::Call;
use crate::lua::api::protect::protected;
use crate::lua::api::raise::{Answer, Raise, one};
use crate::lua::api::text::contains;
use crate::lua::api::value::text_of;
use crate::lua::api::{interrupt, render};

/// Most characters of the values that a function returned in place of an error.
const RETURNED_MAX: usize = 1200;

/// What is expected of the error.
#[derive(Default)]
struct Expected {
    /// Text that it holds, taken literally.
    text: Option<Vec<u8>>,
    /// Lua pattern that is found in it.
    pattern: Option<Vec<u8>>,
    /// Message of the assertion.
    message: Option<String>,
    /// Whether the message came as a string, which one may take for what the error is to match.
    bare: bool,
}

/// `t:assert_raises(fn, message?)`, `t:assert_raises(fn, {match =, pattern =, msg =})`.
pub(super) fn assert_raises(call: &mut Call<'_>, t: &T) -> Answer {
    alive(call, t)?;
    let function = call.function(0, "a function that should raise")?;
    let expected = expected(call)?;
    let before = t.0.failures.borrow().len();
    let mut result = protected(call.lua(), &function, ())?;
    let raised = !matches!(result.pop_front(), Some(Value::Boolean(true)));
    // What failed in there was meant to, or is told by this assertion.
    t.0.failures.borrow_mut().truncate(before);
    if interrupt::ending(call.lua(), call.what()).is_some() {
        return Err(call.fail("ended"));
    }
    let skip = t.0.skip.borrow().clone();
    if let Some((reason, _)) = skip {
        return Err(t.0.skip(call.lua(), reason));
    }
    if raised {
        let error = result.pop_front().unwrap_or(Value::Nil);
        return match mismatch(call, &expected, &error)? {
            None => one(call.lua(), error),
            Some(values) => Err(failure_with(
                call,
                t,
                "another error was raised",
                expected.message,
                &values,
            )),
        };
    }
    let mut values = match result.len() {
        0 => "\n  the function returned nothing".to_owned(),
        _ => {
            let shown: Vec<_> = result.iter().map(render::value).collect();
            format!(
                "\n  the function returned: {}",
                render::shorten(&shown.join(", "), RETURNED_MAX)
            )
        }
    };
    if expected.bare {
        values.push_str(
            "\n  (the text is this assertion's message; to match the error write {match = …} or {pattern = …})",
        );
    }
    Err(failure_with(
        call,
        t,
        "no error was raised",
        expected.message,
        &values,
    ))
}

/// What the second argument says.
fn expected(call: &Call<'_>) -> Result<Expected, Raise> {
    if !matches!(call.arg(1), Value::Table(_)) {
        return Ok(Expected {
            message: call.message(1)?,
            bare: matches!(call.arg(1), Value::String(_)),
            ..Expected::default()
        });
    }
    let options = call.options(1)?;
    let message = match options.value("msg")? {
        Value::Nil => None,
        message => Some(text_of(&message)),
    };
    let expected = Expected {
        text: options.bytes("match")?,
        pattern: options.bytes("pattern")?,
        message,
        bare: false,
    };
    options.finish()?;
    Ok(expected)
}

/// What the error lacks of what is expected, with the error; nothing if it is as expected.
fn mismatch(call: &Call<'_>, expected: &Expected, error: &Value) -> Result<Option<String>, Raise> {
    let said = match error {
        Value::String(text) => text.as_bytes().to_vec(),
        error => text_of(error).into_bytes(),
    };
    let mut lacking = Vec::new();
    if let Some(text) = expected.text.as_deref().filter(|text| !contains(&said, text)) {
        lacking.push(("match", text));
    }
    if let Some(pattern) = expected.pattern.as_deref()
        && !is_found(call, &said, pattern)?
    {
        lacking.push(("pattern", pattern));
    }
    if lacking.is_empty() {
        return Ok(None);
    }
    let lacking = lacking
        .iter()
        .map(|(key, wanted)| format!("\n  {key}: {}", render::quoted(wanted)));
    let error = render::value(error);
    Ok(Some(format!("{}\n  error: {error}", lacking.collect::<String>())))
}

/// Whether Lua's own `string.find` finds the pattern.
fn is_found(call: &Call<'_>, said: &[u8], pattern: &[u8]) -> Result<bool, Raise> {
    let lua = call.lua();
    let find: Function = lua.globals().get::<Table>("string")?.get("find")?;
    let given = (lua.create_string(said)?, lua.create_string(pattern)?);
    let mut result = protected(lua, &find, given)?;
    let searched = matches!(result.pop_front(), Some(Value::Boolean(true)));
    let value = result.pop_front().unwrap_or(Value::Nil);
    match searched {
        true => Ok(!value.is_nil()),
        false => Err(call.fail(format_args!(
            "pattern {}: {}",
            render::quoted(pattern),
            text_of(&value)
        ))),
    }
}
