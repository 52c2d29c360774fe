//! `dmesg`: the guest's kernel log.
//!
//! Input: a pattern, if any. Output: the log's lines without their `<6>` marks. Not
//! here: how it is read; following it, which the console does.

use mlua::{Function, LuaString, Table, Value};

use crate::lua::api::call::Call;
use crate::lua::api::protect::protected;
use crate::lua::api::raise::{Answer, Raise, one};
use crate::lua::api::text::plain;
use crate::lua::api::value::text_of;
use crate::lua::objects::remote::Remote;

/// `dmesg(pattern?)`, with a pattern of Lua's.
pub(crate) fn dmesg<T: Remote>(call: &mut Call<'_>, this: &T) -> Answer {
    let pattern = pattern(call)?;
    let log = read(call, this)?;
    let mut lines = lines(&log);
    if let Some(pattern) = pattern {
        lines = matching(call, lines, &pattern)?;
    }
    text(call, &lines)
}

/// The pattern in the only argument, if there is one.
pub(crate) fn pattern(call: &Call<'_>) -> Result<Option<LuaString>, Raise> {
    call.at_most(1)?;
    match plain(call.arg(0)) {
        Value::Nil => Ok(None),
        Value::String(pattern) => Ok(Some(pattern)),
        other => Err(call.wrong("a string as pattern", &other)),
    }
}

/// The lines of a log, without the marks of their levels.
pub(crate) fn lines(log: &[u8]) -> Vec<&[u8]> {
    let mut lines: Vec<&[u8]> = log.split(|byte| *byte == b'\n').map(without_mark).collect();
    // What is behind the last line's end is none.
    lines.pop_if(|line| line.is_empty());
    lines
}

/// Lines as the text that the call returns.
pub(crate) fn text(call: &Call<'_>, lines: &[&[u8]]) -> Answer {
    let mut text = lines.join(&b'\n');
    if !text.is_empty() {
        text.push(b'\n');
    }
    one(call.lua(), call.lua().create_string(text)?)
}

/// The lines in which Lua's `string.find` finds the pattern.
fn matching<'a>(call: &Call<'_>, lines: Vec<&'a [u8]>, pattern: &LuaString) -> Result<Vec<&'a [u8]>, Raise> {
    let find: Function = call.lua().globals().get::<Table>("string")?.get("find")?;
    let mut found = Vec::new();
    for line in lines {
        let line_of_lua = call.lua().create_string(line)?;
        let mut result = protected(call.lua(), &find, (line_of_lua, pattern))?;
        match (result.pop_front(), result.pop_front()) {
            (Some(Value::Boolean(true)), Some(Value::Nil) | None) => {}
            (Some(Value::Boolean(true)), Some(_)) => found.push(line),
            (_, error) => {
                let error = text_of(&error.unwrap_or(Value::Nil));
                return Err(call.fail(format_args!("pattern `{}`: {error}", pattern.to_string_lossy())));
            }
        }
    }
    Ok(found)
}

/// The whole kernel log, as the guest has it.
pub(crate) fn read<T: Remote>(call: &Call<'_>, this: &T) -> Result<Vec<u8>, Raise> {
    let log = this.ask(call, |client| client.kernel_log())?;
    log.map_err(|error| call.fail(format_args!("reading the kernel log: {error}")))
}

/// A line without the `<6>` of its level.
fn without_mark(line: &[u8]) -> &[u8] {
    let Some(rest) = line.strip_prefix(b"<") else {
        return line;
    };
    let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
    match rest.get(digits) {
        Some(b'>') if digits > 0 => &rest[digits + 1..],
        _ => line,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_go_and_text_stays() {
        for (line, expected) in [
            ("<6>[    0.0] Linux", "[    0.0] Linux"),
            ("<132>x", "x"),
            ("<>x", "<>x"),
            ("<6", "<6"),
            ("a<6>b", "a<6>b"),
            ("", ""),
        ] {
            assert_eq!(without_mark(line.as_bytes()), expected.as_bytes(), "{line}");
        }
    }
}
