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

/// All of a value that [`value`] shortens: a string's own bytes, else its text.
pub(crate) fn too_long(value: &Value) -> Option<Vec<u8>> {
    let mut text = String::new();
    write_value(&mut text, value, 0);
    match value {
        _ if text.chars().count() <= VALUE_MAX => None,
        Value::String(string) => Some(string.as_bytes().to_vec()),
        _ => Some(text.into_bytes()),
    }
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

/// Two values that differ, each on a line behind its name; of texts with several lines the diff alone.
pub(crate) fn comparison(left: (&str, &Value), right: (&str, &Value)) -> String {
    let width = left.0.len().max(right.0.len()) + 1;
    let line = |(name, shown): (&str, &Value)| format!("\n  {:width$} {}", format!("{name}:"), value(shown));
    let values = || line(left) + &line(right);
    let (Value::String(a), Value::String(b)) = (left.1, right.1) else {
        return values();
    };
    let (a, b) = (a.as_bytes(), b.as_bytes());
    if a.contains(&b'\n') && b.contains(&b'\n') {
        return match only_last_newline(&a, &b) {
            Some(note) => note,
            None => blanks(&a, &b) + &diff((left.0, &a), (right.0, &b)),
        };
    }
    let note = only_last_newline(&a, &b).unwrap_or_else(|| blanks(&a, &b));
    values()
        + &if note.is_empty() {
            first_difference(&a, &b)
        } else {
            note
        }
}

/// Says so if the two differ in their last newline alone.
fn only_last_newline(left: &[u8], right: &[u8]) -> Option<String> {
    let one_more = |a: &[u8], b: &[u8]| a.strip_suffix(b"\n") == Some(b);
    (one_more(left, right) || one_more(right, left)).then(|| "\n  only the last newline differs".to_owned())
}

/// Says so if the two differ in white space alone.
fn blanks(left: &[u8], right: &[u8]) -> String {
    let words = |text: &[u8]| -> Vec<Vec<u8>> {
        let words = text
            .split(u8::is_ascii_whitespace)
            .filter(|word| !word.is_empty());
        words.map(<[u8]>::to_vec).collect()
    };
    match words(left) == words(right) {
        true => "\n  only white space differs".to_owned(),
        false => String::new(),
    }
}

/// The place where two long strings begin to differ; empty for short ones, which speak for themselves.
fn first_difference(left: &[u8], right: &[u8]) -> String {
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

fn diff(left: (&str, &[u8]), right: (&str, &[u8])) -> String {
    let (a, b) = (String::from_utf8_lossy(left.1), String::from_utf8_lossy(right.1));
    let diff = TextDiff::configure().timeout(DIFF_TIME_MAX).diff_lines(&*a, &*b);
    let unified = diff.unified_diff().context_radius(2).to_string();
    let mut text = format!("\n  diff (- {}, + {}):", left.0, right.0);
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

    /// What is shown of two strings that differ.
    fn compared(left: &[u8], right: &[u8]) -> String {
        let lua = Lua::new();
        let value = |bytes: &[u8]| Value::String(lua.create_string(bytes).expect("a string"));
        comparison(("left", &value(left)), ("right", &value(right)))
    }

    #[test]
    fn differences_are_pointed_out() {
        assert_eq!(
            compared(b"short", b"shirt"),
            "\n  left:  \"short\"\n  right: \"shirt\""
        );
        let text = compared(b"one\ntwo\nthree\n", b"one\n2\nthree\n");
        assert!(
            text.starts_with("\n  diff (- left, + right):\n") && !text.contains("left:  \""),
            "{text}"
        );
        assert!(text.contains("\n    -two") && text.contains("\n    +2"), "{text}");
        let (left, mut right) = (vec![b'x'; 100], vec![b'x'; 100]);
        right[70] = b'y';
        let text = compared(&left, &right);
        assert!(text.contains("at byte 71"), "{text}");
    }

    #[test]
    fn a_difference_that_cannot_be_seen_is_named() {
        let note = "\n  only the last newline differs";
        assert_eq!(compared(b"a\nb\n", b"a\nb"), note);
        assert_eq!(
            compared(b"a", b"a\n"),
            format!("\n  left:  \"a\"\n  right: \"a\\n\"{note}")
        );
        let text = compared(b"a b\nc\n", b"a  b\nc\t\n");
        assert!(text.starts_with("\n  only white space differs\n  diff"), "{text}");
        assert!(compared(b"a b", b"ab").ends_with("right: \"ab\""));
    }
}
