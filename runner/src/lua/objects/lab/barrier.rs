//! `lab:barrier`: a place that callers leave together.
//!
//! Input: a name, how many are to come, a time limit. Output: every caller, once the last has come; or an
//! error that says how many had. A coroutine yields while it waits, so whoever resumes it lets the others
//! come; code outside of one can only wait, for nobody else runs meanwhile. Not here: barriers between files;
//! and rounds that outlive the test that began them.

use std::cell::Cell;
use std::time::{Duration, Instant};

use mlua::Value;
use provium_guest::Waiter;

use super::handle::Lab;
use crate::lua::api::binding::{Method, function};
use crate::lua::api::call::Call;
use crate::lua::api::interrupt::ending;
use crate::lua::api::raise::{Answer, Raise, none, one};
use crate::lua::api::value::{duration, integer, seconds};

/// Time limit of a wait where nothing else is said.
const TIMEOUT: Duration = Duration::from_secs(60);

/// The method `barrier`.
pub(crate) fn methods() -> Vec<Method<Lab>> {
    vec![Method {
        name: "barrier",
        signature: "(name: string, count: integer, timeout?: number|string)",
        doc: "Waits until `count` callers have come, 60 seconds at most; a coroutine yields meanwhile.",
        run: barrier,
    }]
}

fn barrier(call: &mut Call<'_>, lab: &Lab) -> Answer {
    call.at_most(3)?;
    let name = call.name(0, "a string as name")?;
    let count = integer(call.arg(1)).map_err(|message| call.fail(format_args!("the count: {message}")))?;
    if count < 1 {
        return Err(call.fail(format_args!("the count: expected 1 or more, got {count}")));
    }
    let limit = match call.arg(2) {
        Value::Nil => TIMEOUT,
        value => duration(value).map_err(|message| call.fail(format_args!("the timeout: {message}")))?,
    };
    let owner = call.file().running().map(|run| run.life());
    let arrived = lab.inner().barriers().arrive(&name, count, owner);
    let waiter = arrived.map_err(|error| call.fail(error))?;
    if waiter.is_open() {
        return none();
    }
    let (started, left) = (Instant::now(), Cell::new(false));
    let leave = move |waiter: &Waiter| {
        // A coroutine that dies of an error does not say that it leaves; one that is closed says only that.
        if !left.replace(true) {
            waiter.leave();
        }
    };
    let look = function(call.lua(), call.what(), move |call| {
        let may_block = match call.arg(0) {
            Value::Boolean(may_block) => *may_block,
            _ => {
                leave(&waiter);
                return none();
            }
        };
        if waiter.is_open() {
            return one(call.lua(), true);
        }
        if waiter.is_over() {
            return Err(call.fail(format_args!("`{name}`: the test that waited here has ended")));
        }
        let left = limit.saturating_sub(started.elapsed());
        let token = call.file().cancel();
        let ended = match may_block {
            true => token.sleep(left).is_some(),
            false => token.is_cancelled().is_some(),
        };
        if ended {
            leave(&waiter);
            return Err(call.fail(ending(call.lua(), call.what()).unwrap_or_default()));
        }
        if started.elapsed() < limit {
            return one(call.lua(), false);
        }
        let hint = match may_block {
            true => "; nothing else of a file runs while code outside of a coroutine waits",
            false => "",
        };
        let (arrived, limit) = (waiter.arrived(), seconds(limit));
        leave(&waiter);
        Err(call.fail(format_args!(
            "`{name}`: {arrived} of {count} callers arrived within {limit}s{hint}"
        )))
    })?;
    Err(Raise::Wait(look))
}
