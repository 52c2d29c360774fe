//! `lab:barrier`: a place that callers leave together.
//!
//! Enters: a name, how many are to come, a time limit. Leaves: every caller, once the last has come; or an error that says
//! how many had. A coroutine yields while it waits, so whoever resumes it lets the others come; code outside of one can only
//! wait, for nobody else runs meanwhile. Absent on purpose: barriers between files; and rounds that outlive the test that
//! began them.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::{Rc, Weak};
use std::time::{Duration, Instant};

use mlua::Value;

use crate::lua::api::binding::{Method, function};
use crate::lua::api::call::{Answer, Call, Raise, duration, integer, none, one};
use crate::lua::api::interrupt::{ending, seconds};
use crate::lua::objects::lab::Lab;
use crate::lua::test::test_run::TestRun;

const TIMEOUT: Duration = Duration::from_secs(60);

/// The barriers of a lab that somebody waits at.
#[derive(Default)]
pub(crate) struct Barriers(RefCell<BTreeMap<String, Rc<Round>>>);

/// One use of a barrier: it ends when all have come, and the next to come begins another.
struct Round {
    count: i64,
    arrived: Cell<i64>,
    open: Cell<bool>,
    /// The test that began it, if one did.
    test: Option<Weak<TestRun>>,
}

impl Round {
    fn is_over(&self) -> bool {
        match &self.test {
            None => false,
            Some(test) => test.upgrade().is_none_or(|test| test.has_ended()),
        }
    }
}

impl Barriers {
    /// The round that waits under this name, or a new one.
    fn round(&self, name: &str, count: i64, test: Option<&Rc<TestRun>>) -> Rc<Round> {
        let mut rounds = self.0.borrow_mut();
        rounds.retain(|_, round| !round.is_over());
        let round = rounds.entry(name.to_owned()).or_insert_with(|| {
            Rc::new(Round {
                count,
                arrived: Cell::new(0),
                open: Cell::new(false),
                test: test.map(Rc::downgrade),
            })
        });
        Rc::clone(round)
    }

    /// One who came goes away again, unless the round is complete; with the last goes the round.
    fn leave(&self, name: &str, round: &Rc<Round>) {
        if round.open.get() {
            return;
        }
        round.arrived.set(round.arrived.get() - 1);
        if round.arrived.get() == 0 {
            self.forget(name, round);
        }
    }

    fn forget(&self, name: &str, round: &Rc<Round>) {
        let mut rounds = self.0.borrow_mut();
        if rounds.get(name).is_some_and(|there| Rc::ptr_eq(there, round)) {
            rounds.remove(name);
        }
    }
}

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
    let round = lab.barriers().round(&name, count, call.file().running().as_ref());
    if round.count != count {
        let expected = round.count;
        return Err(call.fail(format_args!(
            "`{name}` waits for {expected} callers, and this one says {count}"
        )));
    }
    round.arrived.set(round.arrived.get() + 1);
    if round.arrived.get() == count {
        round.open.set(true);
        lab.barriers().forget(&name, &round);
        return none();
    }
    let (started, lab, left) = (Instant::now(), lab.clone(), Cell::new(false));
    let leave = move |name: &str, round: &Rc<Round>| {
        // A coroutine that dies of an error does not say that it leaves; one that is closed says only that.
        if !left.replace(true) {
            lab.barriers().leave(name, round);
        }
    };
    let look = function(call.lua(), call.what(), move |call| {
        let may_block = match call.arg(0) {
            Value::Boolean(may_block) => *may_block,
            _ => {
                leave(&name, &round);
                return none();
            }
        };
        if round.open.get() {
            return one(call.lua(), true);
        }
        if round.is_over() {
            return Err(call.fail(format_args!("`{name}`: the test that waited here has ended")));
        }
        let left = limit.saturating_sub(started.elapsed());
        let token = call.file().cancel();
        let ended = match may_block {
            true => token.sleep(left).is_some(),
            false => token.is_cancelled().is_some(),
        };
        if ended {
            leave(&name, &round);
            return Err(call.fail(ending(call.lua(), call.what()).unwrap_or_default()));
        }
        if started.elapsed() < limit {
            return one(call.lua(), false);
        }
        let hint = match may_block {
            true => "; nothing else of a file runs while code outside of a coroutine waits",
            false => "",
        };
        let (arrived, limit) = (round.arrived.get(), seconds(limit));
        leave(&name, &round);
        Err(call.fail(format_args!(
            "`{name}`: {arrived} of {count} callers arrived within {limit}s{hint}"
        )))
    })?;
    Err(Raise::Wait(look))
}
