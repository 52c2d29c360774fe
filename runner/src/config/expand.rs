//! The environment in the file's strings: `${NAME}` and `${NAME:-default}`.
//!
//! Input: a parsed file, variables. Output: the same with values in place of names, or an error with the
//! line. `$${` stands for `${`. Not here: `build`, whose command a shell expands itself.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ops::Range;

use toml::de::{DeTable, DeValue};

use super::ConfigError;
use super::table::Document;

/// The key whose value is a shell's to expand.
const SHELLS_OWN: &str = "build";

/// Expands all strings of a table and of those below it.
pub(super) fn expand(
    table: &mut DeTable<'_>,
    doc: &Document<'_>,
    variables: &BTreeMap<String, String>,
) -> Result<(), ConfigError> {
    for (key, value) in table.iter_mut() {
        if key.as_ref() != SHELLS_OWN {
            let span = value.span();
            expand_value(value.get_mut(), &span, doc, variables)?;
        }
    }
    Ok(())
}

fn expand_value(
    value: &mut DeValue<'_>,
    span: &Range<usize>,
    doc: &Document<'_>,
    variables: &BTreeMap<String, String>,
) -> Result<(), ConfigError> {
    match value {
        DeValue::String(text) => {
            if text.contains("${") {
                let expanded = expanded(text, variables).map_err(|what| doc.error(span, what))?;
                *text = Cow::Owned(expanded);
            }
            Ok(())
        }
        DeValue::Array(items) => items.iter_mut().try_for_each(|item| {
            let span = item.span();
            expand_value(item.get_mut(), &span, doc, variables)
        }),
        DeValue::Table(table) => expand(table, doc, variables),
        _ => Ok(()),
    }
}

/// The text with values in place of names.
fn expanded(text: &str, variables: &BTreeMap<String, String>) -> Result<String, String> {
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find("${") {
        let (before, behind) = (&rest[..at], &rest[at + 2..]);
        if let Some(before) = before.strip_suffix('$') {
            out.push_str(before);
            out.push_str("${");
            rest = behind;
            continue;
        }
        out.push_str(before);
        let end = behind
            .find('}')
            .ok_or_else(|| format!("`${{{behind}` has no `}}`; write `$${{` for the text `${{`"))?;
        let inner = &behind[..end];
        let (name, default) = match inner.split_once(":-") {
            Some((name, default)) => (name, Some(default)),
            None => (inner, None),
        };
        if !is_name(name) {
            return Err(format!(
                "`${{{inner}}}` names no variable; write `${{NAME}}`, `${{NAME:-default}}`, or `$${{` for the text `${{`"
            ));
        }
        match (variables.get(name), default) {
            (Some(value), default) if !value.is_empty() || default.is_none() => out.push_str(value),
            (_, Some(default)) => out.push_str(default),
            (_, None) => {
                return Err(format!(
                    "`${{{name}}}`: {name} is not set in the environment; set it, or write `${{{name}:-default}}`"
                ));
            }
        }
        rest = &behind[end + 1..];
    }
    out.push_str(rest);
    Ok(out)
}

fn is_name(text: &str) -> bool {
    let word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    text.bytes().all(word) && text.bytes().next().is_some_and(|first| !first.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_stand_for_names() {
        let variables = [("A", "1"), ("EMPTY", "")].map(|(name, value)| (name.to_owned(), value.to_owned()));
        let variables = BTreeMap::from(variables);
        for (text, expected) in [
            ("plain $A {x}", Ok("plain $A {x}")),
            ("${A}/${A:-2}", Ok("1/1")),
            ("${B:-2}${EMPTY:-3}${EMPTY}.", Ok("23.")),
            ("${B:-}", Ok("")),
            ("$${A} $$${A}", Ok("${A} $${A}")),
            (
                "${B}",
                Err("`${B}`: B is not set in the environment; set it, or write `${B:-default}`"),
            ),
            ("${A", Err("`${A` has no `}`; write `$${` for the text `${`")),
            (
                "${1}",
                Err(
                    "`${1}` names no variable; write `${NAME}`, `${NAME:-default}`, or `$${` for the text `${`",
                ),
            ),
        ] {
            let expected = expected.map(str::to_owned).map_err(str::to_owned);
            assert_eq!(expanded(text, &variables), expected, "{text}");
        }
    }
}
