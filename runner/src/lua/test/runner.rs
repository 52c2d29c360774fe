//! A test file from its first line to the end of its last test.
//!
//! Enters: a [`FileJob`]. Leaves: a [`FileResult`], with everything the file made closed. Absent on purpose:
//! threads and order between files, and how a result is shown.

use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use mlua::{Function, IntoLuaMulti, Lua, Value};

use crate::lua::api::binding::Kind;
use crate::lua::api::call::text_of;
use crate::lua::api::interrupt::{self, Deadline};
use crate::lua::api::{location, render};
use crate::lua::objects::baseline::Baseline;
use crate::lua::state::create;
use crate::lua::test::file::{File, Registered};
use crate::lua::test::test_run::{T, TestRun};
use crate::outcome::{FileResult, Progress, TestResult, TestStatus, Timeliness};
use crate::run::job::FileJob;
use crate::run::select::Labels;

/// Runs one test file.
pub fn run_file(job: &FileJob, progress: &Arc<dyn Progress>) -> FileResult {
    run_prepared(job, progress, |_| Ok(()))
}

/// Runs one test file in a state that `prepare` may add to.
pub(crate) fn run_prepared(
    job: &FileJob,
    progress: &Arc<dyn Progress>,
    prepare: impl FnOnce(&Lua) -> mlua::Result<()>,
) -> FileResult {
    let started = Instant::now();
    let mut result = FileResult {
        path: job.shown.clone(),
        timeout: Timeliness::InTime,
        passed: false,
        chunk_error: None,
        duration_ns: 0,
        tests: Vec::new(),
    };
    match std::fs::read_to_string(&job.path) {
        Err(error) => result.chunk_error = Some(format!("{}: cannot be read: {error}", job.shown)),
        Ok(source) => {
            let file = File::new(job, source, progress);
            match create::new(&file).and_then(|lua| prepare(&lua).map(|()| lua)) {
                Err(error) => {
                    result.chunk_error = Some(format!("{}: Lua cannot be set up: {error}", job.shown))
                }
                Ok(lua) => {
                    file.scopes.enter();
                    match run_chunk(&lua, &file) {
                        ended if file.is_a_test() => file_as_test(&file, started, ended.err()),
                        Err(failure) => result.chunk_error = Some(failure.to_string()),
                        Ok(()) => match baseline(&file) {
                            Ok(baseline) => run_tests(&lua, &file, baseline.as_ref()),
                            Err(message) => result.chunk_error = Some(message),
                        },
                    }
                    result.tests = file.results.take();
                    file.scopes.leave();
                    file.forget_lua();
                }
            }
        }
    }
    let passed = result.tests.iter().all(|test| test.status != TestStatus::Failed);
    result.passed = passed && result.chunk_error.is_none() && job.cancel.is_cancelled().is_none();
    result.duration_ns = nanos(started.elapsed());
    result
}

/// What the file's VMs are put back to before each test, if they are to be.
fn baseline(file: &File) -> Result<Option<Baseline>, String> {
    file.reset_between_tests
        .get()
        .then(|| Baseline::take(file))
        .transpose()
}

/// Runs a fixture's source; returns what it returned, or why it failed.
pub(crate) fn run_fixture(lua: &Lua, file: &Rc<File>) -> Result<Value, String> {
    let chunk = load(lua, file)?;
    match protect_values(lua, &chunk, ()) {
        Ok(mut values) if !file.has_ending() => Ok(values.pop_front().unwrap_or(Value::Nil)),
        caught => Err(chunk_failure(file, caught.err()).to_string()),
    }
}

fn load(lua: &Lua, file: &Rc<File>) -> Result<Function, String> {
    let chunk = lua
        .load(file.source())
        .set_name(file.chunk_name())
        .into_function();
    chunk.map_err(|error| match error {
        mlua::Error::SyntaxError { message, .. } => message,
        error => error.to_string(),
    })
}

/// Runs the file's own code.
fn run_chunk(lua: &Lua, file: &Rc<File>) -> Result<(), ChunkFailure> {
    let chunk = load(lua, file).map_err(|error| ChunkFailure {
        error,
        line: None,
        log: Vec::new(),
    })?;
    let caught = protect(lua, &chunk, ());
    match (file.has_ending(), &caught) {
        (false, None) => Ok(()),
        _ => Err(chunk_failure(file, caught)),
    }
}

/// Why a file's own code failed.
struct ChunkFailure {
    /// The error with its place.
    error: String,
    /// Its line, where the place does not have it.
    line: Option<u32>,
    /// What the code printed and what its VMs' consoles show.
    log: Vec<String>,
}

impl std::fmt::Display for ChunkFailure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.error)?;
        self.log.iter().try_for_each(|line| write!(f, "\n{line}"))
    }
}

fn chunk_failure(file: &File, caught: Option<Caught>) -> ChunkFailure {
    let (error, line) = match (file.take_ending(), caught) {
        (Some(ending), _) => {
            let place = ending
                .line
                .map(|line| format!("{}:{line}: ", file.job().shown))
                .unwrap_or_default();
            (format!("{place}{}", ending.message), ending.line)
        }
        (None, Some(caught)) => (caught.text, caught.line),
        (None, None) => (String::new(), None),
    };
    let mut log = file.printed.take();
    log.extend(consoles(file));
    ChunkFailure { error, line, log }
}

/// The result of a file that is one test by itself; see [`File::is_a_test`].
fn file_as_test(file: &File, started: Instant, failure: Option<ChunkFailure>) {
    let job = file.job();
    let name = job.path.file_name().unwrap_or_default().to_string_lossy();
    let name = name
        .strip_suffix(".test.lua")
        .or(name.strip_suffix(".lua"))
        .unwrap_or(&name);
    if !job.filter.wants(&job.shown, name, &Labels::new()) {
        return;
    }
    let mut test = TestResult {
        name: name.to_owned(),
        status: TestStatus::Passed,
        message: None,
        log: file.printed.take(),
        duration_ns: nanos(started.elapsed()),
        line: None,
    };
    let todo = file.todo.borrow_mut().take();
    match (todo, failure) {
        (Some(reason), _) => (test.status, test.message) = (TestStatus::Skipped, Some(reason)),
        (None, Some(failure)) => {
            let line = own_line(&failure.error, &job.shown).or(failure.line);
            let message = without_place(&failure.error, &job.shown);
            test.status = TestStatus::Failed;
            test.message = Some(with_source(file, message, line));
            (test.line, test.log) = (line, failure.log);
        }
        (None, None) => {}
    }
    file.progress().test_started(&job.shown, &test.name);
    file.progress().test_ended(&job.shown, &test);
    file.results.borrow_mut().push(test);
}

/// Runs the registered tests in their order, as long as nothing ends the file.
fn run_tests(lua: &Lua, file: &Rc<File>, baseline: Option<&Baseline>) {
    for test in file.tests.take() {
        if file.job().cancel.is_cancelled().is_some() {
            break;
        }
        run_test(lua, file, &test, baseline);
    }
}

/// Runs one test, if it is wanted: now or, in the classic dialect, in the middle of the file's own code.
pub(crate) fn run_test(lua: &Lua, file: &Rc<File>, test: &Registered, baseline: Option<&Baseline>) {
    let job = file.job();
    if !job.filter.wants(&job.shown, &test.name, &test.settings.labels) {
        return;
    }
    file.progress().test_started(&job.shown, &test.name);
    let result = run_with_retries(lua, file, test, baseline);
    file.progress().test_ended(&job.shown, &result);
    file.results.borrow_mut().push(result);
}

fn run_with_retries(
    lua: &Lua,
    file: &Rc<File>,
    test: &Registered,
    baseline: Option<&Baseline>,
) -> TestResult {
    let started = Instant::now();
    let skip = file.todo.borrow().clone().or_else(|| test.settings.skip.clone());
    if let Some(reason) = skip {
        return TestResult {
            name: test.name.clone(),
            status: TestStatus::Skipped,
            message: Some(reason),
            log: Vec::new(),
            duration_ns: nanos(started.elapsed()),
            line: test.line,
        };
    }
    let mut result = run_once(lua, file, test, baseline);
    let mut earlier = Vec::new();
    for attempt in 2..=test.settings.retries.saturating_add(1) {
        if result.status != TestStatus::Failed || file.job().cancel.is_cancelled().is_some() {
            break;
        }
        let message = result.message.take().unwrap_or_default();
        earlier.push(format!("attempt {} failed: {message}", attempt - 1));
        result = run_once(lua, file, test, baseline);
        if result.status == TestStatus::Passed {
            result.message = Some(format!("flaky: passed at attempt {attempt}"));
        }
    }
    result.log.splice(0..0, earlier);
    result.duration_ns = nanos(started.elapsed());
    result
}

fn run_once(lua: &Lua, file: &Rc<File>, test: &Registered, baseline: Option<&Baseline>) -> TestResult {
    let started = Instant::now();
    let run = TestRun::new(test.name.clone(), test.meta.clone());
    run.log.borrow_mut().extend(file.printed.take());
    let limit = test
        .settings
        .timeout
        .or(file.default_timeout.get())
        .filter(|limit| !limit.is_zero());
    let token = file.begin_test(&run, limit);
    file.scopes.enter();

    let caught = match baseline.map_or(Ok(()), Baseline::put_back) {
        Ok(()) => run_body(lua, test, &run, limit, &token),
        Err(text) => Some(Caught { text, line: None }),
    };
    let ending = file.end_test();
    run.end();

    let (status, message, line) = verdict(file, &run, caught, ending);
    if status == TestStatus::Failed {
        run.log.borrow_mut().extend(consoles(file));
    }
    file.scopes.leave();
    TestResult {
        name: test.name.clone(),
        status,
        message,
        log: run.log.take(),
        duration_ns: nanos(started.elapsed()),
        line: line.or(test.line),
    }
}

fn run_body(
    lua: &Lua,
    test: &Registered,
    run: &Rc<TestRun>,
    limit: Option<Duration>,
    token: &Arc<crate::cancel::Cancel>,
) -> Option<Caught> {
    let internal = |error: String| {
        Some(Caught {
            text: error,
            line: None,
        })
    };
    let _deadline = match limit.map(|limit| Deadline::new(token, limit)).transpose() {
        Ok(deadline) => deadline,
        Err(error) => return internal(format!("the test's time limit cannot be watched: {error}")),
    };
    // The test before may have been ended, which left the hook at every instruction.
    if let Err(error) = interrupt::watch(lua) {
        return internal(error.to_string());
    }
    match T(Rc::clone(run)).into_userdata(lua) {
        Ok(t) => protect(lua, &test.body, t),
        Err(error) => internal(error.to_string()),
    }
}

/// What a test came to, why, and at which line.
fn verdict(
    file: &File,
    run: &TestRun,
    caught: Option<Caught>,
    ending: Option<crate::lua::test::file::Ending>,
) -> (TestStatus, Option<String>, Option<u32>) {
    if let Some(ending) = ending {
        return (
            TestStatus::Failed,
            Some(with_source(file, ending.message, ending.line)),
            ending.line,
        );
    }
    let failures = run.failures.borrow();
    let error = |caught: Caught| {
        let line = own_line(&caught.text, &file.job().shown).or(caught.line);
        let text = without_place(&caught.text, &file.job().shown);
        (TestStatus::Failed, Some(with_source(file, text, line)), line)
    };
    let Some(first) = failures.first() else {
        return match (run.skip.borrow().as_ref(), caught) {
            (Some((reason, raised)), caught) if caught.as_ref().is_none_or(|caught| caught.is(raised)) => {
                (TestStatus::Skipped, Some(reason.clone()), None)
            }
            (_, Some(caught)) => error(caught),
            (_, None) => (TestStatus::Passed, None, None),
        };
    };
    match caught {
        Some(caught) => match failures.iter().find(|failure| caught.is(&failure.raised)) {
            Some(failure) => {
                let message = with_source(file, failure.message.clone(), failure.line);
                (TestStatus::Failed, Some(message), failure.line)
            }
            None => error(caught),
        },
        None => {
            let message = with_source(file, first.message.clone(), first.line);
            let note = "\n  (the body caught this failure; it counts all the same)";
            (TestStatus::Failed, Some(message + note), first.line)
        }
    }
}

/// An error that left protected code.
struct Caught {
    text: String,
    line: Option<u32>,
}

impl Caught {
    /// Whether it is the error raised with this text; a coroutine puts a place of its own before what leaves it.
    fn is(&self, raised: &str) -> bool {
        self.text.ends_with(raised)
    }
}

/// Calls a function for its effects.
fn protect(lua: &Lua, function: &Function, args: impl IntoLuaMulti) -> Option<Caught> {
    protect_values(lua, function, args).err()
}

/// Calls a function as Lua's `xpcall` does; the line is taken while the stack is still there.
fn protect_values(
    lua: &Lua,
    function: &Function,
    args: impl IntoLuaMulti,
) -> Result<mlua::MultiValue, Caught> {
    let line = Rc::new(std::cell::Cell::new(None));
    let noted = Rc::clone(&line);
    let call = || -> mlua::Result<mlua::MultiValue> {
        let handler = lua.create_function(move |lua, error: Value| {
            noted.set(location::in_test_file(lua));
            Ok(error)
        })?;
        let mut given = args.into_lua_multi(lua)?;
        given.push_front(Value::Function(handler));
        given.push_front(Value::Function(function.clone()));
        lua.named_registry_value::<Function>(create::XPCALL)?.call(given)
    };
    let text = match call() {
        Ok(mut result) => match result.pop_front() {
            Some(Value::Boolean(true)) => return Ok(result),
            _ => error_text(&result.pop_front().unwrap_or(Value::Nil)),
        },
        Err(error) => error.to_string(),
    };
    Err(Caught {
        text,
        line: line.get(),
    })
}

/// An error value in words.
fn error_text(error: &Value) -> String {
    match error {
        Value::String(text) => text.to_string_lossy(),
        Value::Error(error) => {
            let mut cause: &mlua::Error = error;
            while let mlua::Error::CallbackError { cause: inner, .. } = cause {
                cause = inner;
            }
            cause.to_string()
        }
        Value::UserData(_) => text_of(error),
        other => format!("error value: {}", render::value(other)),
    }
}

/// The line in an error's own `path:line: `, if the path is the test file's.
fn own_line(text: &str, shown: &str) -> Option<u32> {
    text.strip_prefix(shown)?
        .strip_prefix(':')?
        .split_once(": ")?
        .0
        .parse()
        .ok()
}

/// The text without its own `path:line: `, if the path is the test file's; the result has the line by itself.
fn without_place(text: &str, shown: &str) -> String {
    let place = own_line(text, shown).map(|line| format!("{shown}:{line}: "));
    place
        .and_then(|place| text.strip_prefix(&place))
        .unwrap_or(text)
        .to_owned()
}

/// The message with the test's own line of code under it.
fn with_source(file: &File, message: String, line: Option<u32>) -> String {
    let code = line.and_then(|line| {
        Some((
            line,
            file.source().lines().nth(line.checked_sub(1)? as usize)?.trim(),
        ))
    });
    match code {
        Some((line, code)) if !code.is_empty() => {
            format!("{message}\n  {line} | {}", render::shorten(code, 160))
        }
        _ => message,
    }
}

/// The last lines of each running VM's console.
fn consoles(file: &File) -> Vec<String> {
    let tails = file.scopes.console_tails().into_iter();
    tails
        .map(|(name, tail)| format!("console of VM `{name}`:\n{}", tail.trim_end()))
        .collect()
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
