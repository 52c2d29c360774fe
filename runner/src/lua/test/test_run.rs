//! `t`: one run of one test, and its assertions.
//!
//! Enters: what the body asserts, logs and skips. Leaves: failures with both values and the test's line, kept even
//! when the body catches the error. Absent on purpose: deciding what the test came to; `runner` does.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use mlua::{Function, Lua, MultiValue, Table, Value};

use crate::lua::api::binding::{Field, Kind, Method};
use crate::lua::api::call::{Answer, Call, Raise, none, one, text_of};
use crate::lua::api::equal::equal;
use crate::lua::api::{interrupt, location, render};
use crate::lua::test::file::File;

/// A failed assertion.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Failure {
    /// What was expected and what came.
    pub(crate) message: String,
    /// The error as it was raised: the message with its position.
    pub(crate) raised: String,
    /// Line of the test file.
    pub(crate) line: Option<u32>,
}

/// One run of a test.
pub(crate) struct TestRun {
    /// Its name.
    pub(crate) name: String,
    meta: Table,
    /// What it logged and printed.
    pub(crate) log: RefCell<Vec<String>>,
    /// Its failed assertions, caught or not.
    pub(crate) failures: RefCell<Vec<Failure>>,
    /// The reason and the error raised, once it asked to be skipped.
    pub(crate) skip: RefCell<Option<(String, String)>>,
    over: Cell<bool>,
}

impl TestRun {
    /// A run that has not begun.
    pub(crate) fn new(name: String, meta: Table) -> Rc<TestRun> {
        Rc::new(TestRun {
            name,
            meta,
            log: RefCell::default(),
            failures: RefCell::default(),
            skip: RefCell::default(),
            over: Cell::default(),
        })
    }

    /// From now on its `t` can do nothing more.
    pub(crate) fn end(&self) {
        self.over.set(true);
    }

    /// Whether it is over.
    pub(crate) fn has_ended(&self) -> bool {
        self.over.get()
    }

    /// Records a failure and returns the error that reports it.
    fn fail(&self, lua: &Lua, message: String) -> Raise {
        let raised = format!("{}{message}", location::prefix(lua));
        let error = lua.create_string(&raised).map(Value::String);
        self.failures.borrow_mut().push(Failure {
            message,
            raised,
            line: location::in_test_file(lua),
        });
        error.map_or_else(Raise::from, Raise::Value)
    }

    /// Records a wish to be skipped and returns the error that ends the body.
    pub(crate) fn skip(&self, lua: &Lua, reason: String) -> Raise {
        let raised = format!("{}skipped: {reason}", location::prefix(lua));
        let error = lua.create_string(&raised).map(Value::String);
        self.skip.borrow_mut().get_or_insert((reason, raised));
        error.map_or_else(Raise::from, Raise::Value)
    }
}

/// The Lua value `t`.
#[derive(Clone)]
pub(crate) struct T(pub(crate) Rc<TestRun>);

impl Kind for T {
    const NAME: &'static str = "t";
    const PREFIX: &'static str = "t";

    fn methods() -> Vec<Method<T>> {
        vec![
            Method {
                name: "assert",
                signature: "(condition: any, message?: any): any",
                doc: "Fails unless the condition is true; returns it.",
                run: assert,
            },
            Method {
                name: "assert_eq",
                signature: "(a: any, b: any, message?: any)",
                doc: "Fails unless both are equal; tables are compared by content.",
                run: assert_eq,
            },
            Method {
                name: "assert_neq",
                signature: "(a: any, b: any, message?: any)",
                doc: "Fails if both are equal.",
                run: assert_neq,
            },
            Method {
                name: "assert_contains",
                signature: "(hay: string, needle: string, message?: any)",
                doc: "Fails unless `needle` occurs in `hay`, taken literally.",
                run: assert_contains,
            },
            Method {
                name: "assert_raises",
                signature: "(fn: fun(), message?: any): any",
                doc: "Fails unless the function raises an error; returns the error.",
                run: assert_raises,
            },
            Method {
                name: "fail",
                signature: "(message?: any)",
                doc: "Fails.",
                run: fail,
            },
            Method {
                name: "skip",
                signature: "(reason: string)",
                doc: "Ends the test here and reports it as skipped.",
                run: skip,
            },
            Method {
                name: "log",
                signature: "(value: any)",
                doc: "Puts a line into the test's log.",
                run: log,
            },
        ]
    }

    fn fields() -> Vec<Field<T>> {
        vec![
            Field {
                name: "name",
                ty: "string",
                doc: "The test's name.",
                get: |lua, t| Ok(Value::String(lua.create_string(&t.0.name)?)),
            },
            Field {
                name: "meta",
                ty: "table",
                doc: "The test's metadata, empty when it has none.",
                get: |_, t| Ok(Value::Table(t.0.meta.clone())),
            },
        ]
    }

    fn describe(&self) -> String {
        format!("t of test `{}`", self.0.name)
    }

    fn same(&self, other: &T) -> bool {
        Rc::ptr_eq(&self.0, &other.0)
    }
}

/// Refuses a `t` that was kept from an earlier test.
fn alive(call: &Call<'_>, t: &T) -> Result<(), Raise> {
    match t.0.over.get() {
        false => Ok(()),
        true => Err(call.fail(format_args!(
            "this `t` belongs to test `{}`, which is over",
            t.0.name
        ))),
    }
}

/// Fails the test: what was asserted, the test's own message, then the values.
fn failure(call: &Call<'_>, t: &T, what: &str, message: usize, values: &str) -> Raise {
    let own = match call.message(message) {
        Ok(own) => own.map(|own| format!(": {own}")).unwrap_or_default(),
        Err(raise) => return raise,
    };
    t.0.fail(call.lua(), format!("{what}{own}{values}"))
}

fn assert(call: &mut Call<'_>, t: &T) -> Answer {
    alive(call, t)?;
    match call.arg(0) {
        Value::Nil | Value::Boolean(false) => {
            let values = format!("\n  got: {}", render::value(call.arg(0)));
            Err(failure(call, t, "assertion failed", 1, &values))
        }
        condition => one(call.lua(), condition.clone()),
    }
}

fn assert_eq(call: &mut Call<'_>, t: &T) -> Answer {
    alive(call, t)?;
    let (a, b) = (call.arg(0), call.arg(1));
    if equal(a, b)? {
        return none();
    }
    let difference = match (a, b) {
        (Value::String(a), Value::String(b)) => render::difference(&a.as_bytes(), &b.as_bytes()),
        _ => String::new(),
    };
    let values = format!(
        "\n  left:  {}\n  right: {}{difference}",
        render::value(a),
        render::value(b)
    );
    Err(failure(call, t, "values differ", 2, &values))
}

fn assert_neq(call: &mut Call<'_>, t: &T) -> Answer {
    alive(call, t)?;
    let (a, b) = (call.arg(0), call.arg(1));
    if !equal(a, b)? {
        return none();
    }
    let values = format!("\n  left:  {}\n  right: {}", render::value(a), render::value(b));
    Err(failure(call, t, "values are equal", 2, &values))
}

fn assert_contains(call: &mut Call<'_>, t: &T) -> Answer {
    alive(call, t)?;
    let hay = call.string(0, "a string to search in")?;
    let needle = call.string(1, "a string to search for")?;
    if find(&hay.as_bytes(), &needle.as_bytes()) {
        return none();
    }
    let values = format!(
        "\n  needle: {}\n  hay:    {}",
        render::value(call.arg(1)),
        render::value(call.arg(0))
    );
    Err(failure(call, t, "string not found", 2, &values))
}

/// Whether `needle` occurs in `hay`.
pub(crate) fn find(hay: &[u8], needle: &[u8]) -> bool {
    needle.is_empty() || hay.windows(needle.len()).any(|window| window == needle)
}

fn assert_raises(call: &mut Call<'_>, t: &T) -> Answer {
    alive(call, t)?;
    let function = call.function(0, "a function that should raise")?;
    let before = t.0.failures.borrow().len();
    let mut result = protected(call.lua(), &function)?;
    let raised = !matches!(result.pop_front(), Some(Value::Boolean(true)));
    // What failed in there was meant to, or is told by this assertion.
    t.0.failures.borrow_mut().truncate(before);
    if interrupt::ending(call.lua(), call.what()).is_some() {
        return Err(call.fail("ended"));
    }
    let skip = t.0.skip.borrow().clone();
    if let Some((reason, _)) = skip {
        return Err(t.0.skip(call.lua(), reason));
    }
    if raised {
        return one(call.lua(), result.pop_front().unwrap_or(Value::Nil));
    }
    let values = match result.len() {
        0 => "\n  the function returned nothing".to_owned(),
        _ => {
            let shown: Vec<_> = result.iter().map(render::value).collect();
            format!(
                "\n  the function returned: {}",
                render::shorten(&shown.join(", "), 1200)
            )
        }
    };
    Err(failure(call, t, "no error was raised", 1, &values))
}

/// Lua's own `pcall`: true and the results, or false and the error as it was raised.
pub(crate) fn protected(lua: &Lua, function: &Function) -> mlua::Result<MultiValue> {
    lua.named_registry_value::<Function>(PCALL)?.call(function)
}

/// Where the state keeps Lua's own `pcall`, whatever the test does with the global.
pub(crate) const PCALL: &str = "provium.pcall";

fn fail(call: &mut Call<'_>, t: &T) -> Answer {
    alive(call, t)?;
    let message = call.message(0)?.unwrap_or_else(|| "failed".to_owned());
    Err(t.0.fail(call.lua(), message))
}

fn skip(call: &mut Call<'_>, t: &T) -> Answer {
    alive(call, t)?;
    let reason = call.string(0, "a string as reason")?.to_string_lossy();
    Err(t.0.skip(call.lua(), reason))
}

fn log(call: &mut Call<'_>, t: &T) -> Answer {
    alive(call, t)?;
    let line = match call.arg(0) {
        Value::String(text) => text.to_string_lossy(),
        value => render::value(value),
    };
    t.0.log.borrow_mut().push(line);
    none()
}

/// `test(name, [meta,] fn)`.
pub(crate) fn register(call: &mut Call<'_>) -> Answer {
    use crate::lua::test::file::Registered;
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
    let settings = crate::lua::test::metadata::settings(call, &meta)?;
    file.names.borrow_mut().insert(name.clone());
    let test = Registered {
        name,
        meta,
        settings,
        body,
        line: location::in_test_file(call.lua()),
    };
    if !file.classic.get() {
        file.tests.borrow_mut().push(test);
        return none();
    }
    if file.reset_between_tests.get() {
        return Err(call.fail(
            "provium.reset_between_tests is for tests that run after the file's own code, and the VMs of \
             provium.create and provium.fixture make this file's tests run at once",
        ));
    }
    crate::lua::test::runner::run_test(call.lua(), &file, &test, None);
    // A test that was ended leaves the watch at every instruction.
    interrupt::watch(call.lua())?;
    none()
}

/// `todo(reason?)`: at file scope for every test of the file, in a test for that one.
pub(crate) fn todo(call: &mut Call<'_>) -> Answer {
    let reason = call.message(0)?.unwrap_or_else(|| "todo".to_owned());
    let file: Rc<File> = call.file();
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
