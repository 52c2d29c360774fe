//! The globals `dofile`, `loadfile`, `load` and `os.exit`.
//!
//! Input: paths and source text. Output: functions, or what they return; in a fixture's source, each file is
//! noted as an input. Not here: `require` (`modules`); and bytecode, which all of them refuse.

use mlua::{MultiValue, Value};
use provium_base::cause::Cause;

use crate::lua::api::call::Call;
use crate::lua::api::protect::{own_load, protected};
use crate::lua::api::raise::{Answer, Raise, none, one};
use crate::lua::api::source::{NO_BYTECODE, Source};

/// `dofile(path)`: relative to the project's folder.
pub(crate) fn dofile(call: &mut Call<'_>) -> Answer {
    let (source, name) = read(call)?;
    let chunk = source.function(call.lua(), &name);
    let chunk = chunk.map_err(|message| call.fail(message))?;
    raised(protected(call.lua(), &chunk, ())?)
}

/// `loadfile(path, mode, env)`: relative to the project's folder; nil and a message where it cannot be done.
pub(crate) fn loadfile(call: &mut Call<'_>) -> Answer {
    let done = read(call).and_then(|(source, name)| {
        let chunk = source.function(call.lua(), &name);
        chunk.map_err(|message| call.fail(message))
    });
    match done {
        Ok(chunk) => {
            match call.take(2) {
                Value::Nil => {}
                Value::Table(environment) => {
                    chunk.set_environment(environment)?;
                }
                other => return Err(call.wrong("a table as environment", &other)),
            }
            one(call.lua(), chunk)
        }
        Err(Raise::Text(message)) => not_loaded(call, &message),
        Err(other) => Err(other),
    }
}

/// `load(chunk, name, mode, env)`: Lua's own, for source text alone.
pub(crate) fn load(call: &mut Call<'_>) -> Answer {
    const BINARY: &[u8] = b"attempt to load a binary chunk";
    if !matches!(call.arg(0), Value::String(_) | Value::Function(_)) {
        return Err(call.wrong("source text, or a function that gives it", call.arg(0)));
    }
    let mut args: Vec<Value> = (0..call.count()).map(|at| call.take(at)).collect();
    if args.get(2).is_some_and(is_binary) {
        return not_loaded(call, NO_BYTECODE);
    }
    args.resize(args.len().max(3), Value::Nil);
    args[2] = Value::String(call.lua().create_string("t")?);
    let result = raised(protected(
        call.lua(),
        &own_load(call.lua())?,
        MultiValue::from_vec(args),
    )?)?;
    match result.get(1) {
        Some(Value::String(message)) if message.as_bytes().starts_with(BINARY) => {
            not_loaded(call, NO_BYTECODE)
        }
        _ => Ok(result),
    }
}

/// Whether a mode of `load` leaves source text out.
fn is_binary(mode: &Value) -> bool {
    matches!(mode, Value::String(mode) if !mode.as_bytes().contains(&b't'))
}

/// The file of the first argument and its chunk's name.
fn read(call: &Call<'_>) -> Result<(Source, String), Raise> {
    let path = call.name(0, "a string as path")?;
    let full = call.file().project().join(&path);
    call.takes_in_file(&full)?;
    let source = Source::read(&full);
    let source = source.map_err(|error| call.fail(format_args!("{}: {}", full.display(), Cause(&error))))?;
    Ok((source, format!("@{path}")))
}

/// The results of a protected call, or its error, as it was raised.
fn raised(mut result: MultiValue) -> Answer {
    match result.pop_front() {
        Some(Value::Boolean(true)) => Ok(result),
        _ => Err(Raise::Value(result.pop_front().unwrap_or(Value::Nil))),
    }
}

/// What `load` and `loadfile` return where there is no function.
fn not_loaded(call: &Call<'_>, message: &str) -> Answer {
    let message = call.lua().create_string(message)?;
    Ok(MultiValue::from_vec(vec![Value::Nil, Value::String(message)]))
}

/// `os.exit`: would take every other test of the run with it.
pub(crate) fn exit(call: &mut Call<'_>) -> Answer {
    match call.file().running() {
        Some(_) => Err(call.fail("a test cannot end the process; use t:fail, t:skip or return")),
        None => Err(call.fail("a test file cannot end the process; use error or return")),
    }
    .and_then(|()| none())
}
