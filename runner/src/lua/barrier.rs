//! `lab:barrier`: a place that callers leave together.
//!
//! Enters: a name, how many are to come, a time limit. Leaves: every caller, once the last has come; or an error that says
//! how many had. A coroutine yields while it waits, so whoever resumes it lets the others come; code outside of one can only
//! wait, for nobody else runs meanwhile. Absent on purpose: barriers between files.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::{Duration, Instant};

use mlua::Value;

use super::binding::{Method, function};
use super::call::{Answer, Call, Raise, duration, integer, one};
use super::interrupt::{ending, seconds};
use super::lab::Lab;

const TIMEOUT: Duration = Duration::from_secs(60);

/// The barriers of a lab that somebody waits at.
#[derive(Default)]
pub(crate) struct Barriers(RefCell<BTreeMap<String, Rc<RefCell<Barrier>>>>);

/// One round of a barrier: the next begins when all of this have come.
struct Barrier {
    count: i64,
    arrived: i64,
    open: bool,
}

pub(super) fn methods() -> Vec<Method<Lab>> {
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
        value => duration(value).map_err(|message| call.fail(format_args!("timeout: {message}")))?,
    };
    let barriers = &lab.barriers().0;
    let round = {
        let mut barriers = barriers.borrow_mut();
        let fresh = Barrier {
            count,
            arrived: 0,
            open: false,
        };
        Rc::clone(
            barriers
                .entry(name.clone())
                .or_insert_with(|| Rc::new(RefCell::new(fresh))),
        )
    };
    let expected = round.borrow().count;
    if expected != count {
        return Err(call.fail(format_args!(
            "`{name}` waits for {expected} callers, and this one says {count}"
        )));
    }
    round.borrow_mut().arrived += 1;
    if round.borrow().arrived == count {
        round.borrow_mut().open = true;
        barriers.borrow_mut().remove(&name);
        return Ok(mlua::MultiValue::new());
    }
    let (started, lab) = (Instant::now(), lab.clone());
    // Called until it returns true; with true as its argument it may block.
    let look = function(call.lua(), "provium:barrier", move |call| {
        if round.borrow().open {
            return one(call.lua(), true);
        }
        let left = limit.saturating_sub(started.elapsed());
        let token = call.file().cancel();
        let ended = match call.arg(0) {
            Value::Boolean(true) => token.sleep(left).is_some(),
            _ => token.is_cancelled().is_some(),
        };
        if !ended && started.elapsed() < limit {
            return one(call.lua(), false);
        }
        let arrived = round.borrow().arrived;
        round.borrow_mut().arrived -= 1;
        if arrived == 1 {
            lab.barriers().0.borrow_mut().remove(&name);
        }
        let reason = ended.then(|| ending(call.lua(), call.what())).flatten();
        Err(call.fail(reason.unwrap_or_else(|| {
            format!(
                "`{name}`: {arrived} of {count} arrived within {}s",
                seconds(limit)
            )
        })))
    })?;
    Err(Raise::Wait(look))
}
