//! Parts of a test with results of their own: `t:subtest`, `t:ktap`, and `ktap` of a command's result.
//!
//! Input: functions, and what guests print. Output: [`Subtest`]s of the running test, which fail it at its
//! end. A part that fails ends itself and nothing else. Not here: what is printed is read by `ktap`.

use std::time::{Duration, Instant};

use mlua::Value;
use provium_base::outcome::TestStatus;
use provium_base::subtest::{Subtest, SubtestCounts, has_failed};

use super::caught::protect;
use super::ktap;
use super::parts::MOST;
use super::run::{Stage, TestRun};
use super::t::{T, alive};
use super::verdict::came_to;
use crate::lua::api::call::Call;
use crate::lua::api::interrupt::ending;
use crate::lua::api::location;
use crate::lua::api::raise::{Answer, Raise, one};

/// Most levels of `t:subtest`.
const DEPTH: usize = 16;

/// `t:subtest(name, fn)`: whether it did not fail.
pub(super) fn subtest(call: &mut Call<'_>, t: &T) -> Answer {
    open(call, t)?;
    let name = call.name(0, "a string as name")?;
    let body = call.function(1, "a function as body")?;
    call.at_most(2)?;
    let (lua, file, run) = (call.lua(), call.file(), &t.0);
    let parts = &run.parts;
    if parts.has(&name) {
        return Err(call.fail(format_args!("duplicate name `{name}` in this test")));
    }
    if parts.depth() >= DEPTH {
        return Err(call.fail(format_args!("more than {DEPTH} subtests in each other")));
    }
    count(call, run, 1)?;
    let (started, line) = (Instant::now(), location::in_test_file(lua));
    let (failures, skip) = (run.failures.take(), run.skip.take());
    parts.begin();
    let caught = protect(lua, &body, call.this()?);
    let subtests = parts.end();
    let (own_failures, own_skip) = (run.failures.replace(failures), run.skip.replace(skip));
    let ended = ending(lua, call.what());
    let (mut status, mut message, own_line, _) = match &ended {
        Some(message) => (TestStatus::Failed, Some(message.clone()), None, None),
        None => came_to(&file, &own_failures, own_skip, caught, None).parts(),
    };
    if status != TestStatus::Failed && has_failed(&subtests) {
        (status, message) = (TestStatus::Failed, None);
    }
    parts.add(Subtest {
        name,
        status,
        message,
        duration_ns: nanos(started.elapsed()),
        line: own_line.or(line),
        subtests,
    });
    match ended {
        // What has ended the test is no failure of this part alone.
        Some(message) => Err(call.fail(message)),
        None => one(lua, status != TestStatus::Failed),
    }
}

/// `t:ktap(text)`: the counts of its results.
pub(super) fn ktap(call: &mut Call<'_>, t: &T) -> Answer {
    open(call, t)?;
    call.at_most(1)?;
    let text = call.string(0, "a string of KTAP or TAP")?.to_string_lossy();
    take_in(call, &t.0, ktap::parse(&text))
}

/// The same for what a command printed, whose own end may be a failure as well: `ended` says how, unless it
/// exited, and `code` with which code.
pub(crate) fn ktap_of_command(call: &Call<'_>, text: &str, ended: &str, code: Option<i32>) -> Answer {
    /// How a test of the kernel's says that it was skipped.
    const SKIPPED: i32 = 4;
    let Some(run) = call.file().running() else {
        return Err(call.fail("no test runs, whose subtests these could be"));
    };
    open(call, &T(run.clone()))?;
    let mut parts = ktap::parse(text);
    let counts = SubtestCounts::of(&parts);
    let is_told = match code {
        Some(0) => true,
        Some(SKIPPED) => counts.skipped > 0 || counts.failed > 0,
        Some(_) => counts.failed > 0,
        None => false,
    };
    if !is_told {
        parts.push(Subtest {
            message: Some(format!("the command {ended}, which no result of its output says")),
            ..Subtest::new("exit", TestStatus::Failed)
        });
    }
    take_in(call, &run, parts)
}

/// Adds parts to the test; the counts as a table.
fn take_in(call: &Call<'_>, run: &TestRun, parts: Vec<Subtest>) -> Answer {
    let counts = SubtestCounts::of(&parts);
    count(call, run, counts.all)?;
    let line = location::in_test_file(call.lua());
    for part in parts {
        run.parts.add(Subtest { line, ..part });
    }
    let table = call.lua().create_table()?;
    table.raw_set(
        "passed",
        counts.all - counts.failed - counts.skipped - counts.xfailed,
    )?;
    table.raw_set("failed", counts.failed)?;
    table.raw_set("skipped", counts.skipped)?;
    table.raw_set("xfailed", counts.xfailed)?;
    one(call.lua(), Value::Table(table))
}

/// Makes room for so many parts.
fn count(call: &Call<'_>, run: &TestRun, more: usize) -> Result<(), Raise> {
    match run.parts.count(more) {
        true => Ok(()),
        false => Err(call.fail(format_args!(
            "a test can have {MOST} subtests, and this would be more"
        ))),
    }
}

/// Refuses parts of a test whose body is over.
fn open(call: &Call<'_>, t: &T) -> Result<(), Raise> {
    alive(call, t)?;
    match t.0.stage.get() {
        Stage::After => {
            Err(call.fail("the test's body is over, and what cleans up after it has no subtests"))
        }
        Stage::Before | Stage::Body => Ok(()),
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
