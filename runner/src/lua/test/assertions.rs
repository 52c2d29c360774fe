//! `assert`, `assert_eq` and `assert_contains` as globals, in tests and outside of them.
//!
//! Input: values, among them the classic dialect's outputs, which count as the strings they hold. Output: an
//! error with both values and the caller's place. Unlike `t`'s assertions they are plain errors: what `pcall`
//! catches is caught, as with Lua's own `assert`. Not here: tables' contents beyond what `t:assert_eq`
//! compares.

use mlua::{MultiValue, Value};

use super::listing;
use crate::lua::api::call::Call;
use crate::lua::api::condition::{not_a_condition, refusal};
use crate::lua::api::equal::equal;
use crate::lua::api::raise::{Answer, Raise, none};
use crate::lua::api::render;
use crate::lua::api::text::{contains, plain};
use crate::lua::api::value::text_of;

/// Notes that the file asserts; see [`File::is_a_test`](crate::lua::test::file::File::is_a_test).
fn note(call: &Call<'_>) {
    let file = call.file();
    if file.running().is_none() {
        file.asserted.set(true);
    }
}

fn failure(call: &Call<'_>, what: &str, message: usize, values: &str) -> Raise {
    let own = match call.arg(message) {
        Value::Nil => String::new(),
        own => format!(": {}", text_of(&plain(own))),
    };
    Raise::text(format!("{what}{own}{values}"))
}

/// `assert(condition, message?, …)`: returns all its arguments; an error value that is no text is raised as
/// it is. A handle passes, as with Lua's own, for `assert(io.open(…))` and its like; a result of a command
/// does not, since it says itself whether the command succeeded.
pub(crate) fn assert(call: &mut Call<'_>) -> Answer {
    note(call);
    if call.count() == 0 {
        return Err(call.fail("expected a condition, got nothing"));
    }
    if let Some(why) = not_a_condition(call.arg(0)) {
        return Err(refusal(call.what(), &why));
    }
    if !matches!(call.arg(0), Value::Nil | Value::Boolean(false)) {
        return Ok((0..call.count())
            .map(|at| call.arg(at).clone())
            .collect::<MultiValue>());
    }
    match plain(call.arg(1)) {
        Value::Nil | Value::String(_) | Value::Integer(_) | Value::Number(_) => {
            let got = format!("\n  got: {}", render::value(call.arg(0)));
            Err(failure(call, "assertion failed", 1, &got))
        }
        value => Err(Raise::Value(value)),
    }
}

/// `assert_eq(expected, actual, message?)`.
pub(crate) fn assert_eq(call: &mut Call<'_>) -> Answer {
    note(call);
    if let Some(guest) = listing::guest(call) {
        return guest;
    }
    call.two("to compare")?;
    let (expected, actual) = (plain(call.arg(0)), plain(call.arg(1)));
    if equal(&expected, &actual)? {
        return none();
    }
    let values = render::comparison(("expected", &expected), ("actual", &actual));
    Err(failure(call, "values differ", 2, &values))
}

/// `assert_contains(haystack, needle, message?)`.
pub(crate) fn assert_contains(call: &mut Call<'_>) -> Answer {
    note(call);
    if let Some(guest) = listing::guest(call) {
        return guest;
    }
    call.two("to search in and to search for")?;
    let text = |at: usize, expected: &str| match plain(call.arg(at)) {
        Value::String(text) => Ok(text),
        other => Err(call.wrong(expected, &other)),
    };
    let (hay, needle) = (
        text(0, "a string to search in")?,
        text(1, "a string to search for")?,
    );
    if contains(&hay.as_bytes(), &needle.as_bytes()) {
        return none();
    }
    let values = format!(
        "\n  needle:   {}\n  haystack: {}",
        render::value(&Value::String(needle)),
        render::value(&Value::String(hay))
    );
    Err(failure(call, "string not found", 2, &values))
}
