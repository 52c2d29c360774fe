//! A test's metadata: what the runner obeys, and what tests are chosen by.
//!
//! Input: the table between a test's name and its body. Output: [`Settings`]; a value of a wrong type is an
//! error. Any key that is none of [`KEYS`] is the test's own and can be chosen by like `spec`, unless it is
//! one of them mistyped. Not here: which tests are wanted.

use mlua::{Table, Value};
use provium_base::meta::{Meta, MetaValue};
use provium_base::nearest::mistyped;

use crate::lua::api::call::Call;
use crate::lua::api::options::array;
use crate::lua::api::raise::Raise;
use crate::lua::api::value::{duration, integer, text_of, type_name};
use crate::lua::state::splats::{Allowance, check_pattern};
use crate::lua::test::file::Settings;
use crate::session::select::{Labels, TAG, TAGS};

/// The keys that the runner knows.
const KEYS: [&str; 8] = [
    "slow", "skip", TAGS, "timeout", "spec", "splat", "retries", "xfail",
];
/// Most letters in which a mistyped key differs from the one that was meant.
const MISTYPED: usize = 2;

/// Reads the metadata of a test.
pub(crate) fn settings(call: &Call<'_>, meta: &Table) -> Result<Settings, Raise> {
    let bad = |key: &str, message: String| call.fail(format_args!("metadata `{key}`: {message}"));
    let expected =
        |key: &str, what: &str, got: &Value| bad(key, format!("expected {what}, got {}", type_name(got)));
    let mut settings = Settings::default();
    for pair in meta.pairs::<Value, Value>() {
        let (key, value) = pair?;
        let Value::String(key) = &key else {
            return Err(call.fail(format_args!(
                "metadata: expected names as keys, got the key {}; write {{tags = {{\"a\", \"b\"}}}}",
                crate::lua::api::render::value(&key)
            )));
        };
        // One tag is what many write first.
        let key = match key.to_string_lossy() {
            key if key == TAG => TAGS.to_owned(),
            key => key,
        };
        if !KEYS.contains(&key.as_str())
            && let Some(meant) = mistyped(&key, MISTYPED, KEYS.into_iter())
        {
            return Err(bad(
                &key,
                format!(
                    "did you mean `{meant}`? (a key of your own differs from it in more than {MISTYPED} letters)"
                ),
            ));
        }
        match (key.as_str(), &value) {
            ("slow", Value::Boolean(is)) => settings.slow = *is,
            ("slow", got) => return Err(expected(&key, "true or false", got)),
            ("skip", Value::Boolean(false)) => {}
            ("skip", Value::Boolean(true)) => settings.skip = Some("skip".to_owned()),
            ("skip", Value::String(reason)) if reason.as_bytes().is_empty() => {
                return Err(bad(
                    &key,
                    "expected true or a reason, got an empty string".to_owned(),
                ));
            }
            ("skip", Value::String(reason)) => settings.skip = Some(reason.to_string_lossy()),
            ("skip", got) => return Err(expected(&key, "true or a reason", got)),
            ("xfail", Value::Boolean(false)) => {}
            ("xfail", Value::Boolean(true)) => settings.xfail = Some(None),
            ("xfail", Value::String(reason)) if reason.as_bytes().is_empty() => {
                return Err(bad(
                    &key,
                    "expected true or a reason, got an empty string".to_owned(),
                ));
            }
            ("xfail", Value::String(reason)) => settings.xfail = Some(Some(reason.to_string_lossy())),
            ("xfail", got) => return Err(expected(&key, "true or a reason", got)),
            ("timeout", value) => {
                settings.timeout = Some(duration(value).map_err(|message| bad(&key, message))?);
            }
            ("splat", Value::String(text)) if text.as_bytes() == b"ok" => settings.splats = Allowance::All,
            ("splat", Value::String(pattern)) => {
                let pattern = pattern.as_bytes().to_vec();
                check_pattern(&pattern).map_err(|what| bad(&key, format!("a pattern of Lua's: {what}")))?;
                settings.splats = Allowance::Matching(pattern);
            }
            ("splat", got) => return Err(expected(&key, "\"ok\" or a pattern", got)),
            ("retries", value) => {
                let count = integer(value).and_then(|count| {
                    u32::try_from(count).map_err(|_| format!("expected 0 or more, got {count}"))
                });
                settings.retries = Some(count.map_err(|message| bad(&key, message))?);
            }
            (TAGS | "spec", Value::String(text)) => note(&mut settings.labels, &key, text.to_string_lossy()),
            (TAGS | "spec", Value::Table(items)) => {
                let texts = array(items).and_then(|items| {
                    let text = |item: &Value| match item {
                        Value::String(text) => Some(text.to_string_lossy()),
                        _ => None,
                    };
                    items.iter().map(text).collect::<Option<Vec<_>>>()
                });
                let texts = texts.ok_or_else(|| bad(&key, "expected an array of strings".to_owned()))?;
                texts
                    .into_iter()
                    .for_each(|text| note(&mut settings.labels, &key, text));
            }
            (TAGS | "spec", got) => return Err(expected(&key, "a string or an array of strings", got)),
            (_, Value::Table(items)) => {
                let simple = array(items).unwrap_or_default().into_iter().filter(is_simple);
                simple.for_each(|item| note(&mut settings.labels, &key, text_of(&item)));
            }
            (_, value) if is_simple(value) => note(&mut settings.labels, &key, text_of(value)),
            (_, got) => return Err(expected(&key, "a string, a number, true, false or a table", got)),
        }
    }
    settings.meta = carried(meta, 0)?;
    note(&mut settings.labels, "slow", settings.slow.to_string());
    Ok(settings)
}

/// Deepest table of metadata that results carry.
const DEEPEST: usize = 8;

/// The values of a table with names as keys; what is no value of data, or lies too deep, is left out.
fn carried(table: &Table, depth: usize) -> Result<Meta, Raise> {
    let mut meta = Meta::new();
    for pair in table.pairs::<Value, Value>() {
        let (key, value) = pair?;
        if let Some(value) = carried_value(&value, depth)? {
            meta.insert(text_of(&key), value);
        }
    }
    Ok(meta)
}

fn carried_value(value: &Value, depth: usize) -> Result<Option<MetaValue>, Raise> {
    Ok(Some(match value {
        Value::Boolean(is) => MetaValue::Bool(*is),
        Value::Integer(number) => MetaValue::Int(*number),
        Value::Number(number) => MetaValue::Float(*number),
        Value::String(text) => match text.to_str() {
            Ok(text) => MetaValue::Text(text.to_owned()),
            Err(_) => MetaValue::Binary(text.as_bytes().to_vec().into()),
        },
        Value::Table(_) if depth >= DEEPEST => return Ok(None),
        Value::Table(table) => match array(table) {
            Some(items) if !items.is_empty() => {
                let items: Result<Vec<_>, Raise> =
                    items.iter().map(|item| carried_value(item, depth + 1)).collect();
                MetaValue::Array(items?.into_iter().flatten().collect())
            }
            _ => MetaValue::Map(carried(table, depth + 1)?),
        },
        _ => return Ok(None),
    }))
}

fn is_simple(value: &Value) -> bool {
    matches!(
        value,
        Value::String(_) | Value::Integer(_) | Value::Number(_) | Value::Boolean(_)
    )
}

fn note(labels: &mut Labels, key: &str, value: String) {
    labels.entry(key.to_owned()).or_default().push(value);
}
