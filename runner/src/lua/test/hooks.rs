//! Functions that a file or a test leaves for later: `provium.before_each` and `after_each`, `t:defer` and
//! `t:on_failure`.
//!
//! Input: functions. Output: the same, kept with the file or with the run of its test. Not here: running
//! them; `runner` runs what comes before a test, `cleanup` what comes behind it.

use mlua::Function;

use super::run::Stage;
use super::t::{T, alive};
use crate::lua::api::call::Call;
use crate::lua::api::raise::{Answer, Raise, none};

/// `provium.before_each(fn)`: for every test of the file, in the order they were given.
pub(crate) fn before_each(call: &Call<'_>) -> Answer {
    let function = of_file(call, "a function to run before each test")?;
    call.file().before_each.borrow_mut().push(function);
    none()
}

/// `provium.after_each(fn)`: for every test of the file, the last given first.
pub(crate) fn after_each(call: &Call<'_>) -> Answer {
    let function = of_file(call, "a function to run after each test")?;
    call.file().after_each.borrow_mut().push(function);
    none()
}

fn of_file(call: &Call<'_>, expected: &str) -> Result<Function, Raise> {
    call.at_most(1)?;
    let file = call.file();
    if file.building().is_some() {
        return Err(call.fail("a fixture has no tests"));
    }
    if let Some(running) = file.running() {
        return Err(call.fail(format_args!(
            "it is for all tests of the file and goes before them, and test `{}` runs; use t:defer",
            running.name
        )));
    }
    call.function(0, expected)
}

/// `t:defer(fn)`.
pub(super) fn defer(call: &mut Call<'_>, t: &T) -> Answer {
    alive(call, t)?;
    call.at_most(1)?;
    let function = call.function(0, "a function to run at the end of the test")?;
    t.0.deferred.borrow_mut().push(function);
    none()
}

/// `t:on_failure(fn)`.
pub(super) fn on_failure(call: &mut Call<'_>, t: &T) -> Answer {
    alive(call, t)?;
    call.at_most(1)?;
    let function = call.function(0, "a function to run if the test fails")?;
    if t.0.stage.get() == Stage::After {
        return Err(call.fail("the test is over; what it came to is known"));
    }
    t.0.on_failure.borrow_mut().push(function);
    none()
}
