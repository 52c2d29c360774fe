//! What runs behind a test's body, whatever became of it: `t:on_failure`, `t:defer`, `provium.after_each`.
//!
//! Input: what the body came to. Output: what the test came to, since an error in here fails it. Each
//! function runs, whatever those before it came to, with the VMs of the test still there. Time: what is left
//! of the test's limit and [`GRACE`] more; where the run or the file was ended, [`GRACE`] from then on. Not
//! here: what the scopes close afterwards.

use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use mlua::{Function, Lua, Value};
use parking_lot::Mutex;
use provium_base::cancel::{Cancel, CancelGuard, CancelReason};

use super::caught::protect;
use super::file::File;
use super::run::{Stage, TestRun};
use super::t::T;
use super::verdict::{Verdict, came_to};
use crate::lua::api::binding::Kind;
use crate::lua::api::interrupt::{self, Deadline};

/// Time that clean-up has after a limit has passed, or the run was told to end.
pub(super) const GRACE: Duration = Duration::from_secs(10);

/// Runs what the test and its file have left for the end of the test; `limit` is when the test's own time is
/// over.
pub(super) fn clean_up(
    lua: &Lua,
    file: &Rc<File>,
    run: &Rc<TestRun>,
    verdict: Verdict,
    limit: Option<Instant>,
) -> Verdict {
    let nothing = run.deferred.borrow().is_empty()
        && run.on_failure.borrow().is_empty()
        && file.after_each.borrow().is_empty();
    if nothing {
        return verdict;
    }
    run.stage.set(Stage::After);
    let mut cleanup = Cleanup {
        lua,
        file,
        run,
        verdict,
        left_out: 0,
    };
    let begun = Allowed::begin(file, limit).and_then(|allowed| {
        interrupt::watch(lua)?;
        let t = T(Rc::clone(run)).into_userdata(lua)?;
        cleanup.all(&Value::UserData(t));
        Ok(allowed)
    });
    if let Err(error) = begun {
        cleanup.log(format!("the test's clean-up could not run: {error}"));
    }
    if cleanup.left_out > 0 {
        let left_out = cleanup.left_out;
        cleanup.log(format!(
            "{left_out} function(s) of the test's clean-up had no time left to run"
        ));
    }
    let verdict = cleanup.verdict;
    file.end_part();
    verdict
}

/// The clean-up of one run.
struct Cleanup<'a> {
    lua: &'a Lua,
    file: &'a Rc<File>,
    run: &'a Rc<TestRun>,
    verdict: Verdict,
    /// Functions that were not run, since the time was over.
    left_out: usize,
}

impl Cleanup<'_> {
    fn all(&mut self, t: &Value) {
        self.tell_of_failure();
        // One that is deferred by another runs as well.
        while let Some(function) = self.next_deferred() {
            self.step("t:defer", &function, t.clone());
        }
        let after_each: Vec<_> = self.file.after_each.borrow().iter().rev().cloned().collect();
        for function in after_each {
            self.step("provium.after_each", &function, t.clone());
        }
        // The clean-up itself may be what failed.
        self.tell_of_failure();
    }

    fn next_deferred(&self) -> Option<Function> {
        self.run.deferred.borrow_mut().pop()
    }

    /// Gives the failure's message to those who want to hear it, if the test failed.
    fn tell_of_failure(&mut self) {
        let Verdict::Failed(failure) = &self.verdict else {
            return;
        };
        let message = failure.message.clone();
        for function in self.run.on_failure.take() {
            match self.lua.create_string(&message) {
                Ok(message) => self.step("t:on_failure", &function, Value::String(message)),
                Err(error) => self.log(format!("t:on_failure: {error}")),
            }
        }
    }

    /// Runs one function; its error fails the test, or is noted in the log of one that has failed.
    fn step(&mut self, what: &str, function: &Function, argument: Value) {
        if self.file.cancel().is_cancelled().is_some() {
            self.left_out += 1;
            return;
        }
        let before = self.run.failures.borrow().len();
        let caught = protect(self.lua, function, argument);
        let ending = self.file.take_ending();
        let failures = self.run.failures.borrow()[before..].to_vec();
        let Verdict::Failed(mut failure) = came_to(self.file, &failures, None, caught, ending) else {
            return;
        };
        if matches!(self.verdict, Verdict::Failed(_)) {
            let line = failure.place.as_ref().map(|place| place.line);
            let place = line.map(|line| format!(" at line {line}")).unwrap_or_default();
            self.log(format!(
                "a function of {what} failed too{place}: {}",
                failure.message
            ));
            return;
        }
        failure
            .message
            .push_str(&format!("\n  (in a function of {what})"));
        let (file, test) = (self.file, &self.run.name);
        file.evidence.add_to(&mut failure, &file.scopes, test);
        self.verdict = Verdict::Failed(failure);
    }

    fn log(&self, line: String) {
        self.run.log.borrow_mut().push(line);
    }
}

/// The time that clean-up is allowed, watched while this lives.
struct Allowed {
    _limit: Option<Deadline>,
    _told: CancelGuard,
}

impl Allowed {
    /// Gives the code that runs now a token of its own: the test's may have been cancelled long ago.
    fn begin(file: &File, limit: Option<Instant>) -> mlua::Result<Allowed> {
        let token = Cancel::new();
        let left = limit.map(|limit| limit.saturating_duration_since(Instant::now()) + GRACE);
        let ended = file.job().cancel.is_cancelled().is_some();
        file.begin_cleanup(
            &token,
            left.map(|left| if ended { left.min(GRACE) } else { left }),
        );
        let deadline = left.map(|left| Deadline::new(&token, left)).transpose();
        let late: Arc<Mutex<Option<Deadline>>> = Arc::default();
        let told = move || match Deadline::new(&token, GRACE) {
            Ok(deadline) => drop(late.lock().replace(deadline)),
            Err(_) => token.cancel(CancelReason::TestTimeout),
        };
        Ok(Allowed {
            _limit: deadline.map_err(mlua::Error::external)?,
            _told: file.job().cancel.on_cancel(Box::new(told)),
        })
    }
}
