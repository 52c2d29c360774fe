//! The two call shapes of `run`: a line for the shell, or a program with its arguments.
//!
//! Input: `(cmd, opts?)` as Lua passed them. Output: an [`ExecSpec`], the command as a message shows it, and
//! a word where a program was asked for and a line for the shell was meant. Not here: running it; `run` and
//! its sibling `run_async` read the same shapes here.

use std::convert::identity;
use std::time::Duration;

use mlua::{Table, Value};
use provium_guest::{EnvVar, ExecSpec, GuestError};

use crate::lua::api::call::Call;
use crate::lua::api::options::{Options, array};
use crate::lua::api::raise::Raise;
use crate::lua::api::value::{text_of, type_name};

/// A command, and how messages show it.
pub(crate) struct Command {
    /// The program, its arguments and options.
    pub(crate) spec: ExecSpec,
    /// The command as messages show it.
    pub(crate) shown: String,
    /// Whether it is a program by a table of arguments, and its name reads like a line for the shell.
    line_like: bool,
}

impl Command {
    /// A line for the shell.
    pub(crate) fn shell(line: &[u8]) -> Command {
        Command {
            shown: String::from_utf8_lossy(line).into_owned(),
            spec: ExecSpec::shell(line),
            line_like: false,
        }
    }

    /// How the error of running it is passed on: a program that was not found and reads like a line for the
    /// shell gets a word on what its table means.
    pub(crate) fn explanation(&self) -> fn(GuestError) -> GuestError {
        match self.line_like {
            true => explain_table,
            false => identity,
        }
    }
}

fn explain_table(error: GuestError) -> GuestError {
    const NOT_FOUND: [i32; 3] = [libc::ENOENT, libc::ENOTDIR, libc::ENAMETOOLONG];
    match error {
        GuestError::Op(mut op) if op.errno.is_some_and(|number| NOT_FOUND.contains(&number)) => {
            op.message += "; with a table of arguments, `{}` too, it is a program's name and no line for the shell: \
                           leave the table away to have the shell read it";
            GuestError::Op(op)
        }
        error => error,
    }
}

/// Reads `(cmd, opts?)` from the first two arguments.
pub(crate) fn command(call: &Call<'_>) -> Result<Command, Raise> {
    read(call, timeout)
}

/// Reads `(cmd, opts?)` of a program that nobody waits for yet.
pub(crate) fn background(call: &Call<'_>) -> Result<Command, Raise> {
    read(call, no_timeout)
}

fn read(call: &Call<'_>, timeout: Timeout) -> Result<Command, Raise> {
    call.at_most(2)?;
    let program = match call.arg(0) {
        Value::String(line) => Program::Line(bytes(call, "the command", &line.as_bytes())?),
        Value::Table(words) => Program::Words(words_of(call, "the command", words)?),
        other => return Err(call.wrong("a string or an array as command", other)),
    };
    let mut spec = ExecSpec::default();
    let mut bare = false;
    let args = match call.arg(1) {
        Value::Nil => None,
        // Of a command that is an array already, it is no options.
        Value::Table(table) if table.is_empty() && matches!(program, Program::Words(_)) => None,
        Value::Table(table) if array(table).is_some() => {
            bare = true;
            Some(words_of(call, "the arguments", table)?)
        }
        Value::Table(table) => options(call, table, &mut spec, timeout)?,
        other => return Err(call.wrong("a table of options or an array of arguments", other)),
    };
    let line_like = match &program {
        Program::Line(line) => bare && line.iter().any(u8::is_ascii_whitespace),
        Program::Words(_) => false,
    };
    let shown;
    (spec.argv, shown) = match (program, args) {
        (Program::Line(line), None) => {
            if line.iter().all(u8::is_ascii_whitespace) {
                return Err(call.fail("the command is empty"));
            }
            let shown = String::from_utf8_lossy(&line).into_owned();
            (ExecSpec::shell(line).argv, shown)
        }
        (Program::Line(program), Some(args)) => with_words([program].into_iter().chain(args).collect()),
        (Program::Words(words), None) => with_words(words),
        (Program::Words(_), Some(_)) => {
            return Err(
                call.fail("the command is an array already; put its arguments in there, not in the options")
            );
        }
    };
    if spec.argv.first().is_none_or(|program| program.is_empty()) {
        return Err(call.fail("the command is empty"));
    }
    Ok(Command {
        spec,
        shown,
        line_like,
    })
}

/// The first argument of `run`.
enum Program {
    /// A line for the shell, or a program whose arguments follow.
    Line(Vec<u8>),
    /// A program with its arguments.
    Words(Vec<Vec<u8>>),
}

fn with_words(words: Vec<Vec<u8>>) -> (Vec<Vec<u8>>, String) {
    let shown: Vec<_> = words
        .iter()
        .map(|word| String::from_utf8_lossy(word).into_owned())
        .collect();
    (words, shown.join(" "))
}

/// Fills `spec` from the options and returns `args`, if given.
fn options(
    call: &Call<'_>,
    table: &Table,
    spec: &mut ExecSpec,
    timeout: Timeout,
) -> Result<Option<Vec<Vec<u8>>>, Raise> {
    let options = Options::new(call.lua(), call.what(), table.clone())?;
    if options.has_items() {
        return Err(call.fail("array items beside option keys; put the arguments in `args`"));
    }
    let args = match options.table("args")? {
        None => None,
        Some(args) if array(&args).is_some() => Some(words_of(call, "option `args`", &args)?),
        Some(_) => return Err(options.fail("args", "expected an array without other keys or gaps")),
    };
    if let Some(env) = options.table("env")? {
        spec.env = environment(call, &env)?;
    }
    spec.env_clear = options.boolean("env_clear")?.unwrap_or(false);
    spec.cwd = match options.bytes("cwd")? {
        Some(cwd) => Some(bytes(call, "option `cwd`", &cwd)?),
        None => None,
    };
    spec.stdin = options.bytes("stdin")?;
    spec.timeout = timeout(&options)?;
    options.finish()?;
    Ok(args)
}

/// A function that reads the options for a time limit.
type Timeout = fn(&Options<'_>) -> Result<Option<Duration>, Raise>;

/// Nobody would look at a timeout.
fn no_timeout(options: &Options<'_>) -> Result<Option<Duration>, Raise> {
    for key in ["timeout", "timeout_ms"] {
        if !options.value(key)?.is_nil() {
            return Err(options.fail(
                key,
                "a program that is left running has none; give it to proc:wait(timeout)",
            ));
        }
    }
    Ok(None)
}

fn timeout(options: &Options<'_>) -> Result<Option<Duration>, Raise> {
    let limit = options.duration("timeout")?;
    let millis = match options.integer("timeout_ms")? {
        None => None,
        Some(millis) => Some(u64::try_from(millis).map(Duration::from_millis).map_err(|_| {
            options.fail(
                "timeout_ms",
                format_args!("`{millis}` is not a duration; it is negative"),
            )
        })?),
    };
    match (limit, millis) {
        (Some(_), Some(_)) => Err(options.fail("timeout", "give `timeout` or `timeout_ms`, not both")),
        (limit, millis) => Ok(limit.or(millis)),
    }
}

/// An array of words; numbers are taken as Lua writes them.
fn words_of(call: &Call<'_>, what: &str, table: &Table) -> Result<Vec<Vec<u8>>, Raise> {
    let items = array(table).ok_or_else(|| {
        call.fail(format_args!(
            "{what}: expected an array without other keys or gaps"
        ))
    })?;
    let word = |(at, item): (usize, &Value)| match item {
        Value::String(word) => bytes(call, &format!("{what}, item {}", at + 1), &word.as_bytes()),
        Value::Integer(_) | Value::Number(_) => Ok(text_of(item).into_bytes()),
        other => Err(call.fail(format_args!(
            "{what}, item {}: expected a string, got {}",
            at + 1,
            type_name(other)
        ))),
    };
    items.iter().enumerate().map(word).collect()
}

fn environment(call: &Call<'_>, table: &Table) -> Result<Vec<EnvVar>, Raise> {
    let mut variables = Vec::new();
    for pair in table.pairs::<Value, Value>() {
        let (name, value) = pair?;
        let Value::String(name) = &name else {
            let got = type_name(&name);
            return Err(call.fail(format_args!(
                "option `env`: expected names as keys, got {got}; write {{NAME = \"value\"}}"
            )));
        };
        let shown = name.to_string_lossy();
        let value = match &value {
            Value::String(value) => bytes(
                call,
                &format!("option `env`, variable `{shown}`"),
                &value.as_bytes(),
            )?,
            Value::Integer(_) | Value::Number(_) => text_of(&value).into_bytes(),
            other => {
                let got = type_name(other);
                return Err(call.fail(format_args!(
                    "option `env`, variable `{shown}`: expected a string, got {got}"
                )));
            }
        };
        let name = bytes(call, "option `env`, a name", &name.as_bytes())?;
        if name.is_empty() || name.contains(&b'=') {
            return Err(call.fail(format_args!(
                "option `env`: `{shown}` cannot be the name of a variable"
            )));
        }
        variables.push((name, value));
    }
    variables.sort();
    Ok(variables)
}

/// The bytes, unless the kernel would cut them at a NUL.
fn bytes(call: &Call<'_>, what: &str, bytes: &[u8]) -> Result<Vec<u8>, Raise> {
    match bytes.contains(&0) {
        false => Ok(bytes.to_vec()),
        true => Err(call.fail(format_args!("{what} contains a NUL byte"))),
    }
}
