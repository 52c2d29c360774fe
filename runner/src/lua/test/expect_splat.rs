//! `t:expect_splat`: what a test expects of its guests' kernels.
//!
//! Input: a pattern of Lua's, a function. Output: the splat, or a failure that says what came instead. Not
//! here: an expectation without a function, which is checked at the test's end (`splats`).

use std::time::Duration;

use mlua::Value;
use provium_base::failure::GuestSplat;

use super::run::ExpectedSplat;
use super::splats::EXPECTED_WITHIN;
use super::t::{T, alive};
use crate::lua::api::call::Call;
use crate::lua::api::location;
use crate::lua::api::protect::protected;
use crate::lua::api::raise::{Answer, Raise, none, one};
use crate::lua::api::value::seconds;
use crate::lua::state::splats::check_pattern;

/// `t:expect_splat(pattern?, fn?)`.
pub(super) fn expect_splat(call: &mut Call<'_>, t: &T) -> Answer {
    alive(call, t)?;
    call.at_most(2)?;
    let (pattern, function) = match (call.arg(0), call.arg(1)) {
        (Value::Function(function), Value::Nil) => (None, Some(function.clone())),
        (pattern, function) => (
            match pattern {
                Value::Nil => None,
                Value::String(pattern) => Some(pattern.as_bytes().to_vec()),
                other => return Err(call.wrong("a pattern of Lua's, or a function", other)),
            },
            match function {
                Value::Nil => None,
                Value::Function(function) => Some(function.clone()),
                other => return Err(call.wrong("a function that causes the splat", other)),
            },
        ),
    };
    let wanted = match &pattern {
        Some(pattern) => {
            let shown = String::from_utf8_lossy(pattern);
            check_pattern(pattern).map_err(|what| call.fail(format_args!("pattern `{shown}`: {what}")))?;
            format!("a splat that matches `{shown}`")
        }
        None => "a splat".to_owned(),
    };
    let file = call.file();
    let number = file.splats().expect(pattern);
    let Some(function) = function else {
        t.0.expected_splats.borrow_mut().push(ExpectedSplat {
            number,
            message: format!("expected {wanted}, and none came up to the test's end"),
            line: location::in_test_file(call.lua()),
        });
        return none();
    };
    let mut result = protected(call.lua(), &function, ())?;
    let raised = !matches!(result.pop_front(), Some(Value::Boolean(true)));
    // The console has shown it already, mostly; only then is a guest asked that hides it.
    let mut met = file.splats().met(number, Duration::ZERO);
    if met.is_none() && !raised {
        file.ask_quiet_guests();
        met = file.splats().met(number, EXPECTED_WITHIN);
    }
    file.splats().forget(number);
    if raised {
        return Err(Raise::Value(result.pop_front().unwrap_or(Value::Nil)));
    }
    match met {
        Some(splat) => one(call.lua(), table(call, &splat)?),
        None => {
            let limit = seconds(EXPECTED_WITHIN);
            Err(t.0.fail(
                call.lua(),
                format!("expected {wanted}, and none came within {limit}s of the function's end"),
            ))
        }
    }
}

fn table(call: &Call<'_>, splat: &GuestSplat) -> mlua::Result<mlua::Table> {
    let table = call.lua().create_table()?;
    table.set("vm", splat.vm.as_str())?;
    table.set("kind", splat.kind.as_str())?;
    table.set("head", splat.head.as_str())?;
    table.set("text", splat.text.as_str())?;
    Ok(table)
}
