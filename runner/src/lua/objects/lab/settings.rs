//! Settings of a file, which are fields of its root lab: `timeout`, `reset_between_tests`, `parallel`,
//! `splats`, and the functions that run around each test.
//!
//! Input: values that a file assigns. Output: settings that the runner obeys. Not here: obeying them.

use mlua::Value;
use provium_base::nearest::nearest;

use super::handle::Lab;
use crate::config::SplatPolicy;
use crate::lua::api::binding::{Field, bound};
use crate::lua::api::call::Call;
use crate::lua::api::raise::{Answer, Raise, none};
use crate::lua::api::value::{duration, type_name};
use crate::lua::test::file::File;
use crate::lua::test::hooks;

/// The settings as fields.
pub(crate) fn fields() -> Vec<Field<Lab>> {
    vec![
        Field {
            name: "timeout",
            ty: "number|string|nil",
            doc: "Time limit of each test of the file that has none of its own.",
            get: |lua, _| {
                let limit = File::of(lua).default_timeout.get();
                Ok(limit.map_or(Value::Nil, |limit| Value::Number(limit.as_secs_f64())))
            },
        },
        Field {
            name: "reset_between_tests",
            ty: "boolean",
            doc: "Whether the file's VMs are put back, before each test, to what they were after the file's chunk.",
            get: |lua, _| Ok(Value::Boolean(File::of(lua).reset_between_tests.get())),
        },
        Field {
            name: "parallel",
            ty: "boolean",
            doc: "Whether the file's tests run side by side, each with a guest of its own out of the file's fixture.",
            get: |lua, _| Ok(Value::Boolean(File::of(lua).parallel.get())),
        },
        Field {
            name: "splats",
            ty: "\"fail\"|\"warn\"|\"ignore\"",
            doc: "What a splat of a guest's kernel does to the test in which it happens.",
            get: |lua, _| {
                Ok(Value::String(
                    lua.create_string(File::of(lua).splats().policy().to_string())?,
                ))
            },
        },
        Field {
            name: "before_each",
            ty: "fun(fn: fun(t: t))",
            doc: "Has a function run before each test of the file; if it fails, the test fails and its body does not run.",
            get: |lua, lab| {
                bound(lua, "provium.before_each", lab, |call, lab| {
                    of_root(call, lab)?;
                    hooks::before_each(call)
                })
            },
        },
        Field {
            name: "after_each",
            ty: "fun(fn: fun(t: t))",
            doc: "Has a function run after each test of the file, whatever came, the last one first.",
            get: |lua, lab| {
                bound(lua, "provium.after_each", lab, |call, lab| {
                    of_root(call, lab)?;
                    hooks::after_each(call)
                })
            },
        },
    ]
}

/// Refuses a lab that is not the file's own.
fn of_root(call: &Call<'_>, lab: &Lab) -> Result<(), Raise> {
    match lab.is(&Lab::root_of(call.lua())) {
        true => Ok(()),
        false => Err(call.fail(format_args!("lab `{}` has no tests; the file has", lab.name()))),
    }
}

/// `provium.timeout = …` and the others.
pub(crate) fn assign(call: &mut Call<'_>, lab: &Lab, key: &str, value: Value) -> Answer {
    if !lab.is(&Lab::root_of(call.lua())) {
        return Err(Raise::text(format!(
            "lab `{}` has no settings; those of the file are set as `provium.{key}`",
            lab.name()
        )));
    }
    if key == "reset_between_tests" || key == "parallel" {
        let Value::Boolean(wanted) = value else {
            let got = type_name(&value);
            let message = format!("provium.{key}: expected true or false, got {got}");
            return Err(Raise::text(message));
        };
        let file = call.file();
        if file.running().is_some() {
            let message = format!("provium.{key} is set at file scope, and a test runs");
            return Err(Raise::text(message));
        }
        match key {
            "parallel" => file.parallel.set(wanted),
            _ => file.reset_between_tests.set(wanted),
        }
        return none();
    }
    if key == "splats" {
        let policy = match &value {
            Value::String(text) => text.to_string_lossy().parse::<SplatPolicy>(),
            other => Err(format!(
                "expected \"fail\", \"warn\" or \"ignore\", got {}",
                type_name(other)
            )),
        };
        let policy = policy.map_err(|message| Raise::text(format!("provium.splats: {message}")))?;
        call.file().splats().set_policy(policy);
        return none();
    }
    if key != "timeout" {
        let hint = match nearest(key, ["reset_between_tests", "splats", "timeout"].into_iter()) {
            Some(near) => format!("did you mean `{near}`?"),
            None => "there are `parallel`, `reset_between_tests`, `splats` and `timeout`".to_owned(),
        };
        return Err(Raise::text(format!("provium has no setting `{key}`; {hint}")));
    }
    let limit = match &value {
        Value::Nil => None,
        value => Some(duration(value).map_err(|message| Raise::text(format!("provium.timeout: {message}")))?),
    };
    call.file().default_timeout.set(limit);
    none()
}
