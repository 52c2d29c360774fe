//! Lua values as Rust reads and shows them: numbers, sizes, durations, times.
//!
//! Input: a Lua value. Output: a Rust value, or what is wrong in words without the name of the call. Not
//! here: long text about a value for a failure message; `render` has that.

use std::time::Duration;

use mlua::Value;
use provium_base::units;

/// Nanoseconds of a second.
const NANOS: f64 = 1e9;

/// Name of a value's type for messages: `nil`, `string`, `VM`.
pub(crate) fn type_name(value: &Value) -> String {
    match value {
        Value::Integer(_) | Value::Number(_) => "number".to_owned(),
        Value::Error(_) => "error".to_owned(),
        Value::UserData(userdata) => userdata
            .metatable()
            .and_then(|meta| meta.get::<String>("__name"))
            .unwrap_or_else(|_| "userdata".to_owned()),
        other => other.type_name().to_owned(),
    }
}

/// A value as `tostring` shows it.
pub(crate) fn text_of(value: &Value) -> String {
    match value {
        Value::String(string) => string.to_string_lossy(),
        // With its fraction, as Lua shows it: 1.0 is not 1.
        Value::Number(number) => format!("{number:?}"),
        value => value.to_string().unwrap_or_else(|_| type_name(value)),
    }
}

/// A duration: a number of seconds or a string with a unit.
pub(crate) fn duration(value: &Value) -> Result<Duration, String> {
    match value {
        Value::Integer(seconds) => {
            units::duration_from_secs(*seconds as f64).map_err(|error| error.to_string())
        }
        Value::Number(seconds) => units::duration_from_secs(*seconds).map_err(|error| error.to_string()),
        Value::String(text) => {
            units::parse_duration(&text.to_string_lossy()).map_err(|error| error.to_string())
        }
        other => Err(format!(
            "expected a duration (seconds, or a string such as \"500ms\"), got {}",
            type_name(other)
        )),
    }
}

/// A size: a number of bytes or a string with a unit.
pub(crate) fn size(value: &Value) -> Result<u64, String> {
    match value {
        Value::Integer(bytes) => u64::try_from(*bytes)
            .map_err(|_| format!("`{bytes}` is not a size; write bytes, or a string such as \"256M\"")),
        Value::Number(bytes) => units::size_from_number(*bytes).map_err(|error| error.to_string()),
        Value::String(text) => units::parse_size(&text.to_string_lossy()).map_err(|error| error.to_string()),
        other => Err(format!(
            "expected a size (bytes, or a string such as \"256M\"), got {}",
            type_name(other)
        )),
    }
}

/// An integer; a float without a fraction counts as one.
pub(crate) fn integer(value: &Value) -> Result<i64, String> {
    const TWO_63: f64 = 9_223_372_036_854_775_808.0;
    match value {
        Value::Integer(number) => Ok(*number),
        Value::Number(number) if number.fract() == 0.0 && (-TWO_63..TWO_63).contains(number) => {
            Ok(*number as i64)
        }
        Value::Number(number) => Err(format!("expected an integer, got {number}")),
        other => Err(format!("expected an integer, got {}", type_name(other))),
    }
}

/// A time: seconds since 1970, returned as nanoseconds; an error for what no clock can show.
pub(crate) fn time(value: &Value) -> Result<i64, String> {
    let bad = |shown: String| format!("`{shown}` is not a time; it is seconds since 1970");
    match value {
        Value::Integer(seconds) => {
            let ns = (*seconds >= 0)
                .then(|| seconds.checked_mul(1_000_000_000))
                .flatten();
            ns.ok_or_else(|| bad(seconds.to_string()))
        }
        Value::Number(seconds) if (0.0..i64::MAX as f64 / NANOS).contains(seconds) => {
            // Whole seconds by themselves: a float has no digits for the nanoseconds of today.
            let whole = seconds.trunc();
            Ok(whole as i64 * 1_000_000_000 + ((seconds - whole) * NANOS) as i64)
        }
        Value::Number(seconds) => Err(bad(seconds.to_string())),
        other => Err(format!("expected seconds since 1970, got {}", type_name(other))),
    }
}

/// A duration in seconds, which messages show without needless zeros.
pub(crate) fn seconds(duration: Duration) -> f64 {
    duration.as_secs_f64()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_seconds_since_1970() {
        assert_eq!(time(&Value::Integer(5)), Ok(5_000_000_000));
        assert_eq!(time(&Value::Number(1.5)), Ok(1_500_000_000));
        for bad in [
            Value::Integer(-1),
            Value::Integer(i64::MAX),
            Value::Number(-0.5),
            Value::Number(f64::NAN),
            Value::Number(1e30),
            Value::Nil,
        ] {
            assert!(time(&bad).is_err(), "{bad:?}");
        }
    }
}
