//! Signals by number and by name, as x86-64 Linux has them.
//!
//! Input: a number, or what a test says for one. Output: its name, or its number. Not here: sending any.

use std::str::FromStr;

use mlua::Value;
use nix::sys::signal::Signal;

use crate::lua::api::value::{integer, type_name};

/// SIGKILL.
pub(crate) const KILL: i32 = 9;
/// SIGTERM.
pub(crate) const TERM: i32 = 15;
/// The greatest number.
const MAX: i64 = 64;

/// `SIGTERM` for 15; `signal 40` for what has no name.
pub(crate) fn name(number: i32) -> String {
    Signal::try_from(number).map_or_else(|_| format!("signal {number}"), |signal| signal.to_string())
}

/// The signal a test means: a number, or a name in any case, with or without `sig`; nothing for nil.
pub(crate) fn read(value: &Value) -> Result<Option<i32>, String> {
    match value {
        Value::Nil => Ok(None),
        Value::Integer(_) | Value::Number(_) => {
            let number = integer(value)?;
            match i32::try_from(number) {
                Ok(signal) if (0..=MAX).contains(&number) => Ok(Some(signal)),
                _ => Err(format!("{number} is no signal; they go from 0 to {MAX}")),
            }
        }
        Value::String(text) => {
            let text = text.to_string_lossy();
            number(&text)
                .map(Some)
                .ok_or_else(|| format!("unknown signal name `{text}`"))
        }
        other => Err(format!(
            "expected a signal (a name or a number), got {}",
            type_name(other)
        )),
    }
}

/// The number of a name, or of a number as text.
fn number(text: &str) -> Option<i32> {
    let upper = text.trim().to_ascii_uppercase();
    let short = upper.strip_prefix("SIG").unwrap_or(&upper);
    let named = Signal::from_str(&format!("SIG{short}"));
    let number = || {
        upper
            .parse()
            .ok()
            .filter(|number| (0..=MAX as i32).contains(number))
    };
    named.ok().map(|signal| signal as i32).or_else(number)
}

#[cfg(test)]
mod tests {
    use super::{name, number};

    #[test]
    fn names_have_numbers() {
        for (text, expected) in [
            ("term", Some(15)),
            ("SIGTERM", Some(15)),
            ("SigKill", Some(9)),
            ("sigint", Some(2)),
            ("hup", Some(1)),
            ("quit", Some(3)),
            ("stop", Some(19)),
            ("cont", Some(18)),
            ("usr1", Some(10)),
            ("USR2", Some(12)),
            ("alrm", Some(14)),
            ("pipe", Some(13)),
            ("chld", Some(17)),
            ("winch", Some(28)),
            ("15", Some(15)),
            ("sig15", None),
            ("65", None),
            ("-1", None),
            ("sig", None),
            ("", None),
            ("terminate", None),
        ] {
            assert_eq!(number(text), expected, "{text}");
        }
    }

    #[test]
    fn numbers_have_names() {
        for (number, expected) in [
            (1, "SIGHUP"),
            (9, "SIGKILL"),
            (15, "SIGTERM"),
            (17, "SIGCHLD"),
            (28, "SIGWINCH"),
            (31, "SIGSYS"),
        ] {
            assert_eq!(name(number), expected);
        }
        assert_eq!(name(34), "signal 34");
        assert_eq!(name(0), "signal 0");
        assert_eq!(name(-1), "signal -1");
    }
}
