//! Values as a failure message shows them.
//!
//! Input: Lua values and byte strings. Output: text of bounded length: strings quoted, tables written out,
//! the middle left out where it gets long, and what differs between two strings. Not here: reading any of it
//! back.

use std::fmt::Write as _;
use std::time::Duration;

use mlua::{Table, Value};
use similar::TextDiff;

use crate::lua::api::value::{text_of, type_name};

/// Most characters a message shows of one value.
const VALUE_MAX: usize = 1200;
/// Most tables inside each other that are written out.
const DEPTH_MAX: usize = 6;
/// Most entries of a table that are written out.
const ENTRIES_MAX: usize = 60;
/// Most lines of a diff.
const DIFF_LINES_MAX: usize = 80;
/// Time limit for finding a small diff.
const DIFF_TIME_MAX: Duration = Duration::from_millis(500);
/// Strings longer than this get their first difference pointed out.
const POINT_OUT_MIN: usize = 60;

/// A value, shortened in the middle where it is long.
pub(crate) fn value(value: &Value) -> String {
    let mut text = String::new();
    write_value(&mut text, value, 0);
    shorten(&text, VALUE_MAX)
}

/// Bytes in quotes, what cannot be printed as escapes.
pub(crate) fn quoted(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len() + 2);
    text.push('"');
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            match c {
                '"' => text.push_str("\\\""),
                '\\' => text.push_str("\\\\"),
                '\n' => text.push_str("\\n"),
                '\r' => text.push_str("\\r"),
                '\t' => text.push_str("\\t"),
                c if c.is_control() && c.is_ascii() => push_hex(&mut text, c as u8),
                c if c.is_control() => text.extend(c.escape_unicode()),
                c => text.push(c),
            }
        }
        chunk.invalid().iter().for_each(|byte| push_hex(&mut text, *byte));
    }
    text.push('"');
    text
}

fn push_hex(text: &mut String, byte: u8) {
    let _ = write!(text, "\\x{byte:02x}");
}

/// The text, its middle left out when it has more than `most` characters.
pub(crate) fn shorten(text: &str, most: usize) -> String {
    let length = text.chars().count();
    if length <= most {
        return text.to_owned();
    }
    let half = most / 2;
    let left_out = length - 2 * half;
    let at = |n: usize| text.char_indices().nth(n).map_or(text.len(), |(at, _)| at);
    format!(
        "{} …({left_out} characters left out)… {}",
        &text[..at(half)],
        &text[at(length - half)..]
    )
}

/// The difference of two strings, in words or as a diff; empty where the values speak for themselves.
pub(crate) fn difference(left: &[u8], right: &[u8]) -> String {
    if left.contains(&b'\n') && right.contains(&b'\n') {
        return diff(&String::from_utf8_lossy(left), &String::from_utf8_lossy(right));
    }
    if left.len().max(right.len()) < POINT_OUT_MIN {
        return String::new();
    }
    let at = left.iter().zip(right).take_while(|(a, b)| a == b).count();
    let around = |bytes: &[u8]| {
        let (from, to) = (at.saturating_sub(10).min(bytes.len()), (at + 20).min(bytes.len()));
        quoted(&bytes[from..to])
    };
    format!(
        "\n  first difference at byte {}: {} against {}",
        at + 1,
        around(left),
        around(right)
    )
}

fn diff(left: &str, right: &str) -> String {
    let diff = TextDiff::configure()
        .timeout(DIFF_TIME_MAX)
        .diff_lines(left, right);
    let unified = diff.unified_diff().context_radius(2).to_string();
    let mut text = "\n  diff (- left, + right):".to_owned();
    for (count, line) in unified.lines().enumerate() {
        if count == DIFF_LINES_MAX {
            let _ = write!(text, "\n    … {} more lines", unified.lines().count() - count);
            break;
        }
        let _ = write!(text, "\n    {}", shorten(line, 200));
    }
    text
}

fn write_value(text: &mut String, value: &Value, depth: usize) {
    match value {
        Value::String(string) => text.push_str(&quoted(&string.as_bytes())),
        Value::Table(table) if !has_tostring(table) => write_table(text, table, depth),
        Value::Function(_) => text.push_str("a function"),
        other => text.push_str(&text_of(other)),
    }
}

fn has_tostring(table: &Table) -> bool {
    table
        .metatable()
        .is_some_and(|meta| !matches!(meta.raw_get("__tostring"), Ok(Value::Nil) | Err(_)))
}

fn write_table(text: &mut String, table: &Table, depth: usize) {
    if depth == DEPTH_MAX {
        text.push_str("{…}");
        return;
    }
    let length = table.raw_len();
    let mut fields: Vec<(String, Value)> = table
        .pairs::<Value, Value>()
        .filter_map(|pair| pair.ok())
        .filter(|(key, _)| !matches!(key, Value::Integer(at) if (1..=length as i64).contains(at)))
        .map(|(key, value)| (key_text(&key), value))
        .collect();
    fields.sort_by(|a, b| a.0.cmp(&b.0));
    let total = length + fields.len();
    let items = (1..=length).map(|at| (None, table.raw_get::<Value>(at).unwrap_or(Value::Nil)));
    let entries = items.chain(fields.into_iter().map(|(key, value)| (Some(key), value)));
    text.push('{');
    for (count, (key, value)) in entries.enumerate() {
        if count > 0 {
            text.push_str(", ");
        }
        if count == ENTRIES_MAX {
            let _ = write!(text, "… {} more", total - count);
            break;
        }
        if let Some(key) = key {
            text.push_str(&key);
            text.push_str(" = ");
        }
        write_value(text, &value, depth + 1);
    }
    text.push('}');
}

fn key_text(key: &Value) -> String {
    match key {
        Value::String(name) => {
            let bytes = name.as_bytes();
            let plain = bytes.first().is_some_and(|first| !first.is_ascii_digit())
                && bytes
                    .iter()
                    .all(|byte| byte.is_ascii_alphanumeric() || *byte == b'_');
            if plain {
                String::from_utf8_lossy(&bytes).into_owned()
            } else {
                format!("[{}]", quoted(&bytes))
            }
        }
        Value::Integer(_) | Value::Number(_) | Value::Boolean(_) => format!("[{}]", text_of(key)),
        other => format!("[{}]", type_name(other)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mlua::Lua;

    #[test]
    fn values_are_readable() {
        let lua = Lua::new();
        for (code, expected) in [
            ("nil", "nil"),
            ("true", "true"),
            ("1", "1"),
            ("1.0", "1.0"),
            ("'a\"b\\n\\0\\xff\\tü'", r#""a\"b\n\x00\xff\tü""#),
            ("{}", "{}"),
            ("{1, 'two', {3}}", r#"{1, "two", {3}}"#),
            (
                "{b = 1, a = 'x', ['c d'] = true, [10] = 2}",
                r#"{["c d"] = true, [10] = 2, a = "x", b = 1}"#,
            ),
            (
                "setmetatable({}, {__tostring = function() return 'mine' end})",
                "mine",
            ),
            ("{{{{{{{1}}}}}}}", "{{{{{{{…}}}}}}}"),
            ("print", "a function"),
        ] {
            let got: Value = lua.load(code).eval().expect(code);
            assert_eq!(value(&got), expected, "{code}");
        }
        let cyclic: Value = lua
            .load("local t = {} t.me = t return t")
            .eval()
            .expect("a table");
        assert!(value(&cyclic).ends_with("{…}}}}}}}"), "{}", value(&cyclic));
    }

    #[test]
    fn long_values_lose_their_middle() {
        let lua = Lua::new();
        let long: Value = lua.load("('x'):rep(5000) .. 'end'").eval().expect("a string");
        let shown = value(&long);
        assert!(shown.chars().count() < 1300, "{}", shown.len());
        assert!(
            shown.starts_with("\"xxx") && shown.ends_with("xend\"") && shown.contains("left out"),
            "{shown}"
        );
        let many: Value = lua
            .load("local t = {} for i = 1, 1000 do t[i] = 0 end return t")
            .eval()
            .expect("a table");
        assert!(value(&many).contains("… 940 more"), "{}", value(&many));
        assert_eq!(shorten("äöüß", 2), "ä …(2 characters left out)… ß");
    }

    #[test]
    fn differences_are_pointed_out() {
        assert_eq!(difference(b"short", b"shirt"), "");
        let text = difference(b"one\ntwo\nthree\n", b"one\n2\nthree\n");
        assert!(text.contains("\n    -two") && text.contains("\n    +2"), "{text}");
        let (left, mut right) = (vec![b'x'; 100], vec![b'x'; 100]);
        right[70] = b'y';
        assert!(
            difference(&left, &right).contains("at byte 71"),
            "{}",
            difference(&left, &right)
        );
    }
}
