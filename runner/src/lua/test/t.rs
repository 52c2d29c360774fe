//! `t`: what a test's body asserts, logs and skips with.
//!
//! Input: values. Output: failures of its run, with both values and the test's line. Not here: deciding what
//! the test came to; `verdict` does.

use std::rc::Rc;

use mlua::Value;

use super::artifact::{self, keep_long};
use super::expect_splat::expect_splat;
use super::hooks::{defer, on_failure};
use super::raises::assert_raises;
use super::run::{Stage, TestRun};
use super::subtest::{ktap, subtest};
use crate::lua::api::binding::{Field, Kind, Method};
use crate::lua::api::call::Call;
use crate::lua::api::condition::{always_true, refusal};
use crate::lua::api::equal::equal;
use crate::lua::api::raise::{Answer, Raise, none, one};
use crate::lua::api::render;
use crate::lua::api::text::contains;

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
                signature: "(fn: fun(), expected?: string|{match?: string, pattern?: string, msg?: any}): any",
                doc: "Fails unless the function raises an error, and one that matches; returns the error.",
                run: assert_raises,
            },
            Method {
                name: "expect_splat",
                signature: "(pattern?: string|fun(), fn?: fun()): {vm: string, kind: string, head: string, text: string}?",
                doc: "Fails unless a kernel reports a fault that matches: while the function runs, or by the test's end.",
                run: expect_splat,
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
                name: "subtest",
                signature: "(name: string, fn: fun(t: t)): boolean",
                doc: "Runs a part of the test that fails by itself, and the test at its end; says whether it did not fail.",
                run: subtest,
            },
            Method {
                name: "ktap",
                signature: "(text: string): {passed: integer, failed: integer, skipped: integer, xfailed: integer}",
                doc: "Makes a subtest of each result in a text of KTAP or TAP, nested ones too.",
                run: ktap,
            },
            Method {
                name: "defer",
                signature: "(fn: fun(t: t))",
                doc: "Runs a function at the end of the test whatever came, the last one first; the test's VMs are there.",
                run: defer,
            },
            Method {
                name: "on_failure",
                signature: "(fn: fun(message: string))",
                doc: "Runs a function if the test fails, with the failure's message, before anything is cleaned up.",
                run: on_failure,
            },
            Method {
                name: "artifact",
                signature: "(name: string, content: string|{guest: string, vm?: VM})",
                doc: "Keeps data, or a file of a guest as it is then, if the test fails.",
                run: artifact,
            },
            Method {
                name: "log",
                signature: "(...: any)",
                doc: "Puts a line into the test's log: the values, with a tab between two.",
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
                get: |_, t| Ok(Value::Table(t.0.meta().clone())),
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
pub(super) fn alive(call: &Call<'_>, t: &T) -> Result<(), Raise> {
    match t.0.has_ended() {
        false => Ok(()),
        true => Err(call.fail(format_args!(
            "this `t` belongs to test `{}`, which is over",
            t.0.name
        ))),
    }
}

/// Fails the test: what was asserted, the test's own message, then the values.
fn failure(call: &Call<'_>, t: &T, what: &str, message: usize, values: &str) -> Raise {
    match call.message(message) {
        Ok(own) => failure_with(call, t, what, own, values),
        Err(raise) => raise,
    }
}

/// The same with a message that is no argument.
pub(super) fn failure_with(call: &Call<'_>, t: &T, what: &str, own: Option<String>, values: &str) -> Raise {
    let own = own.map(|own| format!(": {own}")).unwrap_or_default();
    t.0.fail(call.lua(), format!("{what}{own}{values}"))
}

fn assert(call: &mut Call<'_>, t: &T) -> Answer {
    alive(call, t)?;
    if let Some(why) = always_true(call.arg(0)) {
        return Err(refusal(call.what(), &why));
    }
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
    call.two("to compare")?;
    let (a, b) = (call.arg(0), call.arg(1));
    if equal(a, b)? {
        return none();
    }
    let values = render::comparison(("left", a), ("right", b));
    keep_long(&mut t.0.artifacts.borrow_mut(), [("left", a), ("right", b)]);
    Err(failure(call, t, "values differ", 2, &values))
}

fn assert_neq(call: &mut Call<'_>, t: &T) -> Answer {
    alive(call, t)?;
    call.two("to compare")?;
    let (a, b) = (call.arg(0), call.arg(1));
    if !equal(a, b)? {
        return none();
    }
    let values = format!("\n  left:  {}\n  right: {}", render::value(a), render::value(b));
    Err(failure(call, t, "values are equal", 2, &values))
}

fn assert_contains(call: &mut Call<'_>, t: &T) -> Answer {
    alive(call, t)?;
    call.two("to search in and to search for")?;
    let hay = call.string(0, "a string to search in")?;
    let needle = call.string(1, "a string to search for")?;
    if contains(&hay.as_bytes(), &needle.as_bytes()) {
        return none();
    }
    let values = format!(
        "\n  needle: {}\n  hay:    {}",
        render::value(call.arg(1)),
        render::value(call.arg(0))
    );
    keep_long(
        &mut t.0.artifacts.borrow_mut(),
        [("needle", call.arg(1)), ("hay", call.arg(0))],
    );
    Err(failure(call, t, "string not found", 2, &values))
}

fn fail(call: &mut Call<'_>, t: &T) -> Answer {
    alive(call, t)?;
    let message = call.message(0)?.unwrap_or_else(|| "failed".to_owned());
    Err(t.0.fail(call.lua(), message))
}

fn artifact(call: &mut Call<'_>, t: &T) -> Answer {
    alive(call, t)?;
    artifact::add(call, &mut t.0.artifacts.borrow_mut())
}

fn skip(call: &mut Call<'_>, t: &T) -> Answer {
    alive(call, t)?;
    let reason = call.string(0, "a string as reason")?.to_string_lossy();
    if t.0.stage.get() == Stage::After {
        return Err(call.fail("the test's body is over, and what cleans up after it cannot skip it"));
    }
    Err(t.0.skip(call.lua(), reason))
}

fn log(call: &mut Call<'_>, t: &T) -> Answer {
    alive(call, t)?;
    let shown = |value: &Value| match value {
        Value::String(text) => text.to_string_lossy(),
        value => render::value(value),
    };
    let line: Vec<_> = (0..call.count()).map(|at| shown(call.arg(at))).collect();
    t.0.log.borrow_mut().push(line.join("\t"));
    none()
}
