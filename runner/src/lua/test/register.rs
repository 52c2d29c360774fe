//! The globals `test`, `todo` and `print`, which speak to the file or to the test that runs.
//!
//! Input: names, metadata, bodies, reasons, lines. Output: registered tests; in a file whose tests run in
//! place, their results. Not here: running the tests that are registered; `runner` does.

use mlua::{Function, Value};

use super::file::{File, Registered, Settings};
use super::listing;
use super::rounds::PutBackBefore;
use super::{metadata, runner};
use crate::lua::api::call::Call;
use crate::lua::api::raise::{Answer, none};
use crate::lua::api::value::text_of;
use crate::lua::api::{interrupt, location};
use crate::session::listed::ListedTest;

/// `test(name, [meta,] fn)`.
pub(crate) fn register(call: &mut Call<'_>) -> Answer {
    let file = call.file();
    if file.building().is_some() {
        return Err(call.fail("a fixture has no tests; they go into a *.test.lua file that uses it"));
    }
    if let Some(running) = file.running() {
        return Err(call.fail(format_args!(
            "cannot register a test while test `{}` runs",
            running.name
        )));
    }
    listing::check_name(call)?;
    let name = call.name(0, "a string as name")?;
    let (meta, body) = match (call.arg(1), call.arg(2)) {
        (Value::Function(body), Value::Nil) => (call.lua().create_table()?, body.clone()),
        (Value::Table(meta), Value::Function(body)) => (meta.clone(), body.clone()),
        (Value::Nil | Value::Table(_), other) => return Err(call.wrong("a function as body", other)),
        (other, _) => return Err(call.wrong("a function, or a table of metadata and a function", other)),
    };
    if file.names.borrow().contains(&name) {
        return Err(call.fail(format_args!("duplicate name `{name}` in this file")));
    }
    let mut settings = metadata::settings(call, &meta)?;
    file.names.borrow_mut().insert(name.clone());
    let line = location::in_test_file(call.lua());
    let lines = line.map(|line| (line, end_of(&file, &body).unwrap_or(line).max(line)));
    if settings.slow && settings.skip.is_none() && !file.job().runs_slow(&name, lines) {
        settings.skip = Some("slow; --include-slow runs it".to_owned());
    }
    let wanted = file.job().found(&name, &settings.labels, lines);
    let wanted = wanted && file.only().is_none_or(|only| *only == name);
    if listing::is_listed(&file) {
        let Settings { labels, skip, .. } = settings;
        let test = ListedTest {
            name,
            line,
            labels,
            skip,
            wanted,
        };
        listing::add(&file, test);
        return none();
    }
    let test = Registered {
        name,
        meta,
        settings,
        body,
        line,
    };
    if !wanted {
        return none();
    }
    if !file.in_place.get() {
        file.tests.borrow_mut().push(test);
        return none();
    }
    let what = match (file.reset_between_tests.get(), file.job().repeat.is_active()) {
        _ if file.parallel.get() => Some("provium.parallel"),
        (true, _) => Some("provium.reset_between_tests"),
        (_, true) => Some("--repeat"),
        _ => None,
    };
    if let Some(what) = what {
        return Err(call.fail(format_args!(
            "{what} is for tests that run after the file's own code, and the VMs of provium.create and \
             provium.fixture make this file's tests run at once",
        )));
    }
    let result = runner::run_test(call.lua(), &file, &test, &PutBackBefore::once(None), true);
    file.record(result);
    // A test that was ended leaves the watch at every instruction.
    interrupt::watch(call.lua())?;
    none()
}

/// The last line of a function, if it is written in the test file.
fn end_of(file: &File, function: &Function) -> Option<u32> {
    let info = function.info();
    let here = info.source.as_deref() == Some(file.chunk_name());
    u32::try_from(info.last_line_defined.filter(|_| here)?).ok()
}

/// `todo(reason?)`: at file scope for every test of the file, in a test for that one.
pub(crate) fn todo(call: &mut Call<'_>) -> Answer {
    let reason = call.message(0)?.unwrap_or_else(|| "todo".to_owned());
    let file = call.file();
    match file.running() {
        Some(run) => Err(run.skip(call.lua(), reason)),
        None => {
            *file.todo.borrow_mut() = Some(reason);
            none()
        }
    }
}

/// `print(…)`: into the running test's log, or kept for the next test's.
pub(crate) fn print(call: &mut Call<'_>) -> Answer {
    let words: Vec<_> = (0..call.count()).map(|at| text_of(call.arg(at))).collect();
    let (file, line) = (call.file(), words.join("\t"));
    match file.running() {
        Some(run) => run.log.borrow_mut().push(line),
        None => file.printed.borrow_mut().push(line),
    }
    none()
}
