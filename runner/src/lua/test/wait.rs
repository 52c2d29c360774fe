//! `wait_until`: polling with a limit.
//!
//! Input: a predicate and options. Output: the first truthy value it returned, or an error that names what
//! was waited for. A predicate that returns what is always true is refused: it looked at nothing. Not here:
//! threads; the predicate runs in the test's own turn.

use std::time::{Duration, Instant};

use mlua::Value;

use super::listing;
use crate::lua::api::call::Call;
use crate::lua::api::condition::always_true;
use crate::lua::api::interrupt::ending;
use crate::lua::api::protect::protected;
use crate::lua::api::raise::{Answer, Raise, one};
use crate::lua::api::value::seconds;

/// `wait_until(pred, {timeout=10, interval=0.1, desc="condition"})`.
pub(crate) fn wait_until(call: &mut Call<'_>) -> Answer {
    if let Some(guest) = listing::guest(call) {
        return guest;
    }
    poll(call, Duration::from_millis(100))
}

/// Polls as `wait_until` does, with this interval where the options have none.
pub(crate) fn poll(call: &mut Call<'_>, interval: Duration) -> Answer {
    let predicate = call.function(0, "a function as predicate")?;
    let options = call.options(1)?;
    let limit = options.duration("timeout")?.unwrap_or(Duration::from_secs(10));
    let interval = options.duration("interval")?.unwrap_or(interval);
    let desc = options.text("desc")?.unwrap_or_else(|| "condition".to_owned());
    options.finish()?;

    let (started, token) = (Instant::now(), call.file().cancel());
    loop {
        let mut result = protected(call.lua(), &predicate, ())?;
        let returned = matches!(result.pop_front(), Some(Value::Boolean(true)));
        let value = result.pop_front().unwrap_or(Value::Nil);
        if !returned {
            return Err(Raise::Value(value));
        }
        if let Some(why) = always_true(&value) {
            return Err(call.fail(format_args!("the predicate returned {why}")));
        }
        if !matches!(value, Value::Nil | Value::Boolean(false)) {
            return one(call.lua(), value);
        }
        let left = limit.saturating_sub(started.elapsed());
        if left.is_zero() {
            return Err(call.fail(format_args!("{desc} not met within {}s", seconds(limit))));
        }
        // The last look is at the limit itself, not an interval before it.
        if token.sleep(interval.min(left)).is_some() {
            let reason = ending(call.lua(), call.what()).unwrap_or_default();
            return Err(call.fail(reason));
        }
    }
}
