//! A test file from its first line to the end of its last test.
//!
//! Input: a file and its Lua state. Output: a [`FileResult`], with everything the file made closed. Not here:
//! threads and order between files, and how a result is shown.

use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use mlua::Lua;
use provium_base::cancel::{Cancel, CancelReason};
use provium_base::events::Event;
use provium_base::meta::Meta;
use provium_base::outcome::{FileResult, TestResult, TestStatus};

use super::caught::{Caught, protect};
use super::chunk::{ChunkFailure, run_chunk};
use super::cleanup::clean_up;
use super::expected;
use super::file::{File, Registered};
use super::kept;
use super::parallel::{self, SideBySide};
use super::rounds::{PutBack, PutBackBefore, Tallies};
use super::run::{Stage, TestRun};
use super::splats::{check_expected, left_over, log_of, with_splats};
use super::t::T;
use super::verdict::{Verdict, verdict};
use crate::lua::api::binding::Kind;
use crate::lua::api::interrupt::{self, Deadline};
use crate::session::select::Labels;

/// Runs a file in its Lua state and closes everything that it made. `baseline` is asked once, after the
/// file's own code, if its VMs are to be put back before tests; `side_by_side` if its tests run so.
pub(crate) fn run(
    lua: &Lua,
    file: &Rc<File>,
    baseline: impl FnOnce(&File) -> Result<Box<PutBack>, String>,
    side_by_side: &SideBySide<'_>,
) -> FileResult {
    let started = Instant::now();
    let job = file.job();
    let (mut chunk_error, mut failure) = (None, None);
    file.scopes.enter();
    match run_chunk(lua, file) {
        ended if file.is_a_test() => file_as_test(file, started, ended.err()),
        Err(failed) => {
            chunk_error = Some(failed.without_consoles());
            failure = Some(failed.failure);
        }
        Ok(()) if file.parallel.get() && file.only().is_none() => match (side_by_side.check)(file) {
            Ok(()) => chunk_error = parallel::run_tests(lua, file, side_by_side),
            Err(message) => chunk_error = Some(message),
        },
        Ok(()) => match puts_back(file).then(|| baseline(file)).transpose() {
            Ok(put_back) => run_tests(lua, file, put_back.as_deref()),
            Err(message) => chunk_error = Some(message),
        },
    }
    let tests = file.results.take();
    file.scopes.leave();
    if let Some(left) = left_over(file.splats()).filter(|_| chunk_error.is_none()) {
        chunk_error = Some(format!("{}: outside of its tests: {}", job.shown, left.message));
        failure = Some(left);
    }
    file.forget_lua();
    let no_tests = chunk_error.is_none()
        && job.cancel.is_cancelled().is_none()
        && file.names.borrow().is_empty()
        && !file.is_a_test();
    let failed = tests.iter().any(|test| test.status.counts_against_the_run());
    FileResult {
        passed: !failed && chunk_error.is_none() && job.cancel.is_cancelled().is_none(),
        chunk_error,
        failure,
        duration_ns: nanos(started.elapsed()),
        tests,
        no_tests,
        log: file.printed.take(),
        ..FileResult::new(&job.shown)
    }
}

/// Whether the file's VMs are put back at all.
fn puts_back(file: &File) -> bool {
    file.reset_between_tests.get() || file.job().repeat.is_active()
}

/// The result of a file that is one test by itself; see [`File::is_a_test`].
fn file_as_test(file: &File, started: Instant, failure: Option<ChunkFailure>) {
    let job = file.job();
    let name = job.name_of_file();
    if !job.found(&name, &Labels::new(), None) {
        return;
    }
    let mut test = TestResult {
        log: file.printed.take(),
        duration_ns: nanos(started.elapsed()),
        ..TestResult::new(&name, TestStatus::Passed)
    };
    let todo = file.todo.borrow().clone();
    match (todo, failure) {
        (Some(reason), _) => (test.status, test.message) = (TestStatus::Skipped, Some(reason)),
        (None, Some(failure)) => {
            test.log = failure.log;
            let verdict = Verdict::Failed(failure.failure);
            (test.status, test.message, test.line, test.failure) = verdict.parts();
        }
        (None, None) => {}
    }
    if let Some(expectation) = job.expectation(&name) {
        expected::settle(file, &expectation, &mut test);
    }
    file.sink().emit(Event::TestStarted {
        path: job.shown.clone(),
        test: test.name.clone(),
        meta: Meta::new(),
    });
    file.sink().emit(Event::TestEnded {
        path: job.shown.clone(),
        result: test.clone(),
    });
    file.results.borrow_mut().push(test);
}

/// Runs the registered tests, once or in rounds, as long as nothing ends the file.
fn run_tests(lua: &Lua, file: &Rc<File>, put_back: Option<&PutBack>) {
    let job = file.job();
    let mut tests = file.tests.take();
    let name = |test: &Registered| test.name.clone();
    job.order.tests(&job.path, &job.shown, &mut tests, name);
    match file.only() {
        None => tell_of_tests(file, tests.len()),
        // What the file's own code prints was told before, once.
        Some(_) => drop(file.printed.take()),
    }
    let mut tallies = Tallies::default();
    for round in 1u32.. {
        // Tests that go on where others left are put back together.
        let before = match file.reset_between_tests.get() {
            true => PutBackBefore::every(put_back),
            false => PutBackBefore::once(put_back.filter(|_| round > 1)),
        };
        let mut failed = false;
        for test in &tests {
            if job.cancel.is_cancelled().is_some() {
                break;
            }
            let result = run_test(lua, file, test, &before, !tallies.has_failed(&test.name));
            failed |= tallies.add(&result, round);
            file.record(result);
        }
        let ended = job.cancel.is_cancelled().is_some() || tests.is_empty();
        if ended || !job.repeat.goes_on(round, failed) {
            break;
        }
    }
    if job.repeat.is_active() {
        file.results
            .borrow_mut()
            .iter_mut()
            .for_each(|result| tallies.say_in(result));
    }
}

/// Tells how many tests come.
pub(super) fn tell_of_tests(file: &File, tests: usize) {
    let job = file.job();
    file.sink().emit(Event::TestsFound {
        path: job.shown.clone(),
        tests: tests * job.repeat.rounds.unwrap_or(1) as usize,
    });
}

/// Runs one test: after the file's own code or, in the classic dialect, in the middle of the file's own code.
/// What is left of its failure is kept if that is asked for.
pub(crate) fn run_test(
    lua: &Lua,
    file: &Rc<File>,
    test: &Registered,
    before: &PutBackBefore<'_>,
    keep: bool,
) -> TestResult {
    let job = file.job();
    let skip = file.todo.borrow().clone().or_else(|| test.settings.skip.clone());
    let mut result = match skip {
        Some(reason) => TestResult {
            message: Some(reason),
            line: test.line,
            attempts: 0,
            ..TestResult::new(&test.name, TestStatus::Skipped)
        },
        None => {
            file.sink().emit(Event::TestStarted {
                path: job.shown.clone(),
                test: test.name.clone(),
                meta: test.settings.meta.clone(),
            });
            run_with_retries(lua, file, test, before, keep)
        }
    };
    result.meta = test.settings.meta.clone();
    file.sink().emit(Event::TestEnded {
        path: job.shown.clone(),
        result: result.clone(),
    });
    result
}

fn run_with_retries(
    lua: &Lua,
    file: &Rc<File>,
    test: &Registered,
    before: &PutBackBefore<'_>,
    keep: bool,
) -> TestResult {
    let started = Instant::now();
    let expected = expected::of_test(file, test);
    // Nobody waits for a test to pass that is expected to fail, and nothing of its failure is kept. One that
    // runs in rounds shows by itself how often it fails.
    let retries = test.settings.retries.unwrap_or(file.job().retries);
    let tries = match expected.is_some() || file.job().repeat.is_active() {
        true => 1,
        false => retries.saturating_add(1),
    };
    let kept = |attempt| keep && expected.is_none() && attempt == tries;
    let mut result = run_once(lua, file, test, before.next(), kept(1));
    let mut earlier = Vec::new();
    for attempt in 2..=tries {
        if result.status != TestStatus::Failed || file.job().cancel.is_cancelled().is_some() {
            break;
        }
        let message = result.message.take().unwrap_or_default();
        earlier.push(format!("attempt {} failed: {message}", attempt - 1));
        result = run_once(lua, file, test, before.next(), kept(attempt));
        result.attempts = attempt;
        if result.status == TestStatus::Passed {
            result.flaky = true;
            result.message = Some(format!("flaky: passed at attempt {attempt}"));
        }
    }
    if let Some(expected) = &expected {
        expected::settle(file, expected, &mut result);
    }
    result.log.splice(0..0, earlier);
    result.duration_ns = nanos(started.elapsed());
    result
}

/// Runs a test once; what is left of its failure is kept if this is its last run.
fn run_once(
    lua: &Lua,
    file: &Rc<File>,
    test: &Registered,
    put_back: Option<&PutBack>,
    last: bool,
) -> TestResult {
    let started = Instant::now();
    let run = TestRun::new(test.name.clone(), test.meta.clone());
    run.log.borrow_mut().extend(file.printed.take());
    let limit = test
        .settings
        .timeout
        .or(file.default_timeout.get())
        .filter(|limit| !limit.is_zero());
    let token = file.begin_test(&run, limit);
    let until = limit.and_then(|limit| Instant::now().checked_add(limit));
    file.splats().begin(&token, test.settings.splats.clone());
    file.scopes.enter();
    file.evidence.begin_test(&file.scopes);

    let caught = match put_back.map_or(Ok(()), |put_back| put_back()) {
        Ok(()) => run_body(lua, file, test, &run, limit, &token),
        Err(text) => Some(Caught::without_place(text)),
    };
    file.ask_quiet_guests();
    check_expected(file, &run, caught.is_none());
    let ending = file.end_part();
    let at_limit = ending.is_some() && token.is_cancelled().is_some_and(CancelReason::is_limit);
    let mut verdict = with_splats(verdict(file, &run, caught, ending), &file.splats().told());
    if let Verdict::Failed(failure) = &mut verdict {
        if at_limit {
            file.evidence.add_places(failure, &file.scopes);
        }
        file.evidence.add_to(failure, &file.scopes, &test.name);
    }
    let mut verdict = clean_up(lua, file, &run, verdict, until);
    file.end_test();
    run.end();
    match &mut verdict {
        Verdict::Failed(failure) => {
            if last {
                kept::keep(file, &test.name, Some(&run), &mut run.log.borrow_mut(), failure);
            }
        }
        Verdict::Passed | Verdict::Skipped(_) => file.evidence.end_test(&file.scopes, &test.name),
    }
    file.scopes.leave();
    // One that came up to here is the test's as well.
    let told = file.splats().end();
    let (status, message, line, failure) = with_splats(verdict, &told).parts();
    run.log.borrow_mut().extend(log_of(&told.warned));
    TestResult {
        message,
        log: run.log.take(),
        duration_ns: nanos(started.elapsed()),
        line: line.or(test.line),
        failure,
        subtests: run.parts.take(),
        ..TestResult::new(&test.name, status)
    }
}

/// Runs the file's `before_each`, and the body unless one of them failed or skipped the test.
fn run_body(
    lua: &Lua,
    file: &File,
    test: &Registered,
    run: &Rc<TestRun>,
    limit: Option<Duration>,
    token: &Arc<Cancel>,
) -> Option<Caught> {
    let internal = |error: String| Some(Caught::without_place(error));
    let _deadline = match limit.map(|limit| Deadline::new(token, limit)).transpose() {
        Ok(deadline) => deadline,
        Err(error) => return internal(format!("the test's time limit cannot be watched: {error}")),
    };
    // The test before may have been ended, which left the hook at every instruction.
    if let Err(error) = interrupt::watch(lua) {
        return internal(error.to_string());
    }
    let t = match T(Rc::clone(run)).into_userdata(lua) {
        Ok(t) => t,
        Err(error) => return internal(error.to_string()),
    };
    let before_each = file.before_each.borrow().clone();
    for function in before_each {
        let caught = protect(lua, &function, &t);
        if caught.is_some() || run.is_decided() || token.is_cancelled().is_some() {
            return caught;
        }
    }
    run.stage.set(Stage::Body);
    protect(lua, &test.body, t)
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
