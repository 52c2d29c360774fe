//! Tests of a file that run side by side, each in a Lua state of its own that has run the file's own code.
//!
//! Input: a file whose own code has run, and how one of its tests is run alone. Output: their results, in the
//! order that they would have one after the other. The first goes without asking, each further one when the
//! run has a job free, so that `-j` bounds files and tests together. Not here: how a test is run.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use mlua::Lua;
use provium_base::events::Event;
use provium_base::outcome::{FileResult, TestResult, TestStatus};

use super::file::{File, Registered};
use super::rounds::PutBackBefore;
use super::runner::{run_test, tell_of_tests};
use crate::session::job::FileJob;

/// Stack of a test's thread, in bytes: Lua's C functions call each other up to 200 deep.
const STACK: usize = 16 << 20;
/// How often is looked for a free job.
const LOOK: Duration = Duration::from_millis(10);

/// What a file whose tests run side by side is given.
pub(crate) struct SideBySide<'a> {
    /// Says why its tests cannot, if they cannot.
    pub(crate) check: &'a dyn Fn(&File) -> Result<(), String>,
    /// Runs the file for the test of this name alone.
    pub(crate) run_alone: &'a (dyn Fn(&str) -> FileResult + Sync),
}

/// Runs the registered tests; returns an error of the file, if there is one beside theirs.
pub(super) fn run_tests(lua: &Lua, file: &Rc<File>, side_by_side: &SideBySide<'_>) -> Option<String> {
    let job = file.job();
    let mut tests = file.tests.take();
    let name = |test: &Registered| test.name.clone();
    job.order.tests(&job.path, &job.shown, &mut tests, name);
    tell_of_tests(file, tests.len());
    let printed = file.printed.take();
    // What the file's own code has made was for finding the tests; each makes its own.
    file.scopes.leave();
    file.account().release_claim();
    file.scopes.enter();
    let mut results: Vec<Option<TestResult>> = vec![None; tests.len()];
    let mut names = Vec::new();
    let all_skipped = file.todo.borrow().is_some();
    for (at, test) in tests.iter().enumerate() {
        match all_skipped || test.settings.skip.is_some() {
            true => results[at] = Some(run_test(lua, file, test, &PutBackBefore::once(None), false)),
            false => names.push((at, test.name.as_str())),
        }
    }
    let mut error = None;
    run_all(job, &names, side_by_side.run_alone, |at, name, mut ended| match (
        ended.tests.pop(),
        ended.chunk_error,
    ) {
        (Some(result), chunk_error) => {
            error = error.take().or(chunk_error);
            results[at] = Some(result);
        }
        (None, _) if job.cancel.is_cancelled().is_some() => {}
        (None, chunk_error) => {
            let why = chunk_error.unwrap_or_else(|| "it has no such test any more".to_owned());
            let why = format!("the file's own code, run again for the test: {why}");
            results[at] = Some(failed(file, name, why));
        }
    });
    let mut results: Vec<TestResult> = results.into_iter().flatten().collect();
    if let Some(first) = results.first_mut() {
        first.log.splice(0..0, printed);
    }
    results.into_iter().for_each(|result| file.record(result));
    error
}

/// Runs each of the tests alone, as many at a time as there are jobs free; `ended` hears of each end.
fn run_all(
    job: &FileJob,
    names: &[(usize, &str)],
    run_alone: &(dyn Fn(&str) -> FileResult + Sync),
    mut ended: impl FnMut(usize, &str, FileResult),
) {
    let (sender, ends) = mpsc::channel();
    let mut waiting = names.iter().copied().peekable();
    let mut running = 0;
    thread::scope(|scope| {
        loop {
            while let Some((at, name)) = waiting.peek().copied() {
                let slot = if running > 0 { job.slots.take() } else { None };
                if (running > 0 && slot.is_none()) || job.cancel.is_cancelled().is_some() {
                    break;
                }
                let sender = sender.clone();
                let run = move || {
                    let ran = catch_unwind(AssertUnwindSafe(|| run_alone(name)));
                    let result = ran.unwrap_or_else(|_| without(job, "its thread panicked".to_owned()));
                    drop(slot);
                    let _ = sender.send((at, name, result));
                };
                let builder = thread::Builder::new().name("test".into()).stack_size(STACK);
                match builder.spawn_scoped(scope, run) {
                    Ok(_) => running += 1,
                    // It is tried again when another has ended.
                    Err(_) if running > 0 => break,
                    Err(error) => {
                        ended(
                            at,
                            name,
                            without(job, format!("no thread can be started: {error}")),
                        );
                    }
                }
                waiting.next();
            }
            if running == 0 {
                return;
            }
            let end = match waiting.peek().is_some() && job.cancel.is_cancelled().is_none() {
                true => ends.recv_timeout(LOOK),
                false => ends.recv().map_err(|_| RecvTimeoutError::Disconnected),
            };
            if let Ok((at, name, result)) = end {
                running -= 1;
                ended(at, name, result);
            }
        }
    });
}

/// What comes of a file that could not be run for a test.
fn without(job: &FileJob, why: String) -> FileResult {
    FileResult {
        chunk_error: Some(why),
        ..FileResult::new(&job.shown)
    }
}

/// The result of a test that could not be run, of which the file's sink hears.
fn failed(file: &File, name: &str, message: String) -> TestResult {
    let path = file.job().shown.clone();
    let result = TestResult {
        message: Some(message),
        ..TestResult::new(name, TestStatus::Failed)
    };
    file.sink().emit(Event::TestStarted {
        path: path.clone(),
        test: name.to_owned(),
        meta: Default::default(),
    });
    file.sink().emit(Event::TestEnded {
        path,
        result: result.clone(),
    });
    result
}
