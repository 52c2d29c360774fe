//! `RunResult`: how a command in the guest ended.
//!
//! Input: an [`ExecOutcome`] and the command as it was given. Output: its fields in Lua, and an `assert_ok`
//! whose message needs no second look. Not here: running anything.

use std::rc::Rc;

use mlua::{Lua, LuaString, Table, Value};
use provium_guest::{ExecOutcome, ExitStatus};

use crate::lua::api::binding::{Field, Kind, Method};
use crate::lua::api::call::Call;
use crate::lua::api::raise::{Answer, Raise, one};
use crate::lua::api::value::seconds;
use crate::lua::api::{render, signal};
use crate::lua::test::subtest::ktap_of_command;

/// Most characters of each output in a message.
const OUTPUT_MAX: usize = 4000;

/// The result of a command as Lua has it.
#[derive(Clone)]
pub(crate) struct RunResult(Rc<Ran>);

/// The result, which handles share.
struct Ran {
    command: String,
    status: ExitStatus,
    stdout: LuaString,
    stderr: LuaString,
    seconds: f64,
}

impl RunResult {
    /// The result of `command`.
    pub(crate) fn new(lua: &Lua, command: String, outcome: &ExecOutcome) -> mlua::Result<RunResult> {
        Ok(RunResult(Rc::new(Ran {
            command,
            status: outcome.status,
            stdout: lua.create_string(&outcome.stdout)?,
            stderr: lua.create_string(&outcome.stderr)?,
            seconds: seconds(outcome.duration),
        })))
    }

    fn exit_code(&self) -> i64 {
        exit_code(self.0.status)
    }

    fn status(&self) -> &'static str {
        match self.0.status {
            ExitStatus::Exited(_) => "exited",
            ExitStatus::Signalled(_) => "signalled",
            ExitStatus::TimedOut => "timed_out",
        }
    }

    fn is_ok(&self) -> bool {
        self.0.status == ExitStatus::Exited(0)
    }

    /// The end of the command in words, for messages.
    fn ended(&self) -> String {
        match self.0.status {
            ExitStatus::Exited(code) => format!("exited with code {code}"),
            ExitStatus::Signalled(number) => format!("signalled by {} ({number})", signal::name(number)),
            ExitStatus::TimedOut => format!("timed_out after {:.3} s", self.0.seconds),
        }
    }
}

impl Kind for RunResult {
    const NAME: &'static str = "RunResult";
    const PREFIX: &'static str = "result";
    const CONDITION: Option<&'static str> =
        Some("`:ok()` for the condition, or `:assert_ok()` in place of the assertion");

    fn methods() -> Vec<Method<RunResult>> {
        vec![
            Method {
                name: "ok",
                signature: "(): boolean",
                doc: "Whether the command exited with code 0.",
                run: |call, this| one(call.lua(), this.is_ok()),
            },
            Method {
                name: "assert_ok",
                signature: "(): RunResult",
                doc: "Raises unless the command exited with code 0; returns the result.",
                run: assert_ok,
            },
            Method {
                name: "out",
                signature: "(): string",
                doc: "What it wrote to standard output, without the last newline.",
                run: |call, this| {
                    call.at_most(0)?;
                    let bytes = this.0.stdout.as_bytes();
                    let out = bytes.strip_suffix(b"\n").unwrap_or(&bytes);
                    one(call.lua(), call.lua().create_string(out)?)
                },
            },
            Method {
                name: "ktap",
                signature: "(): {passed: integer, failed: integer, skipped: integer, xfailed: integer}",
                doc: "Makes a subtest of each result of KTAP or TAP in what it wrote to standard output.",
                run: ktap,
            },
            Method {
                name: "lines",
                signature: "(): string[]",
                doc: "The lines of what it wrote to standard output, without their newlines.",
                run: |call, this| {
                    call.at_most(0)?;
                    let table = call.lua().create_table()?;
                    let bytes = this.0.stdout.as_bytes();
                    let mut lines: Vec<&[u8]> = bytes.split(|byte| *byte == b'\n').collect();
                    // What is behind the last line's end is none.
                    lines.pop_if(|line| line.is_empty());
                    for line in lines {
                        table.raw_push(call.lua().create_string(line)?)?;
                    }
                    one(call.lua(), table)
                },
            },
        ]
    }

    fn fields() -> Vec<Field<RunResult>> {
        vec![
            Field {
                name: "exit_code",
                ty: "integer",
                doc: "The exit code; -1 when signalled, -2 when timed out.",
                get: |_, this| Ok(Value::Integer(this.exit_code())),
            },
            Field {
                name: "stdout",
                ty: "string",
                doc: "What it wrote to standard output.",
                get: |_, this| Ok(Value::String(this.0.stdout.clone())),
            },
            Field {
                name: "stderr",
                ty: "string",
                doc: "What it wrote to standard error.",
                get: |_, this| Ok(Value::String(this.0.stderr.clone())),
            },
            Field {
                name: "status",
                ty: "\"exited\"|\"signalled\"|\"timed_out\"",
                doc: "Which way it ended.",
                get: |lua, this| Ok(Value::String(lua.create_string(this.status())?)),
            },
            Field {
                name: "signal",
                ty: "integer?",
                doc: "The signal that ended it, nil unless signalled.",
                get: |_, this| match this.0.status {
                    ExitStatus::Signalled(number) => Ok(Value::Integer(number.into())),
                    _ => Ok(Value::Nil),
                },
            },
            Field {
                name: "timed_out",
                ty: "boolean",
                doc: "Whether its timeout passed.",
                get: |_, this| Ok(Value::Boolean(this.0.status == ExitStatus::TimedOut)),
            },
            Field {
                name: "duration",
                ty: "number",
                doc: "Seconds it ran, by the guest's clock.",
                get: |_, this| Ok(Value::Number(this.0.seconds)),
            },
        ]
    }

    fn describe(&self) -> String {
        format!("RunResult: `{}` {}", self.0.command, self.ended())
    }

    fn same(&self, other: &RunResult) -> bool {
        Rc::ptr_eq(&self.0, &other.0)
    }
}

fn assert_ok(call: &mut Call<'_>, this: &RunResult) -> Answer {
    if this.is_ok() {
        return call.this();
    }
    let output = |name: &str, bytes: &LuaString| {
        let text = bytes.to_string_lossy();
        match text.trim_end() {
            "" => format!("\n  {name}: (empty)"),
            text => format!(
                "\n  {name}:\n    {}",
                render::shorten(text, OUTPUT_MAX).replace('\n', "\n    ")
            ),
        }
    };
    Err(call.fail(format_args!(
        "`{}` {}{}{}",
        render::shorten(&this.0.command, 300),
        this.ended(),
        output("stdout", &this.0.stdout),
        output("stderr", &this.0.stderr)
    )))
}

fn ktap(call: &mut Call<'_>, this: &RunResult) -> Answer {
    call.at_most(0)?;
    let code = match this.0.status {
        ExitStatus::Exited(code) => Some(code),
        ExitStatus::Signalled(_) | ExitStatus::TimedOut => None,
    };
    ktap_of_command(call, &this.0.stdout.to_string_lossy(), &this.ended(), code)
}

/// The field `exit_code` of how a program ended: -1 when a signal did it, -2 when its timeout passed.
fn exit_code(status: ExitStatus) -> i64 {
    match status {
        ExitStatus::Exited(code) => code.into(),
        ExitStatus::Signalled(_) => -1,
        ExitStatus::TimedOut => -2,
    }
}

/// Sets the fields `exit_code` and `signal` of how a program ended.
pub(crate) fn set_status(table: &Table, status: ExitStatus) -> Result<(), Raise> {
    let signal = match status {
        ExitStatus::Signalled(signal) => Some(signal),
        ExitStatus::Exited(_) | ExitStatus::TimedOut => None,
    };
    table.raw_set("exit_code", exit_code(status))?;
    table.raw_set("signal", signal)?;
    Ok(())
}
