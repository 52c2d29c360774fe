//! Background jobs of the classic dialect.
//!
//! Input: shell lines. Output: tables `{id, pid}` by which a job is waited for, any number of times, and
//! ended. Behind each is a [`Process`], which keeps the output and ends with its scope. Not here: standard
//! input; `run_async` has it.

use std::time::Duration;

use mlua::{Table, Value};

use super::exec::{exit_code, line};
use crate::lua::api::binding::{Kind, Method, this};
use crate::lua::api::call::Call;
use crate::lua::api::condition::set_result;
use crate::lua::api::raise::{Answer, Raise, one};
use crate::lua::api::value::duration;
use crate::lua::objects::process::handle::Process;
use crate::lua::objects::remote::Remote;

/// Key of the process in a job's metatable.
const PROCESS: &str = "process";

pub(super) fn methods<T: Remote>() -> Vec<Method<T>> {
    vec![
        Method {
            name: "background",
            signature: "(cmd: string): {id: integer, pid: integer}",
            doc: "Starts a line of the shell and does not wait for it.",
            run: background,
        },
        Method {
            name: "job_wait",
            signature: "(job: table, timeout?: number|string): {exit_code: integer?, stdout: string, stderr: \
                        string, running: boolean}",
            doc: "Waits for a job, or looks at it with a timeout of 0; one that still runs goes on.",
            run: |call, _| job_wait(call),
        },
        Method {
            name: "job_kill",
            signature: "(job: table): {exit_code: integer?, stdout: string, stderr: string, running: boolean}",
            doc: "Kills a job and returns its result.",
            run: |call, _| job_kill(call),
        },
    ]
}

fn background<T: Remote>(call: &mut Call<'_>, remote: &T) -> Answer {
    let process = Process::start(call, remote, line(call)?)?;
    let started = process.started();
    let job = call.lua().create_table()?;
    job.raw_set("id", started.handle.cast_signed())?;
    job.raw_set("pid", started.pid)?;
    let meta = call.lua().create_table()?;
    meta.raw_set(PROCESS, process.into_userdata(call.lua())?)?;
    set_result(
        &job,
        &meta,
        "Job",
        "what `job_wait` returns of it: `.running`, `.exit_code == 0`",
    )?;
    one(call.lua(), job)
}

/// The process of the job in the first argument.
fn process(call: &Call<'_>) -> Result<Process, Raise> {
    let expected = "a job, as `background` returns it,";
    let Value::Table(job) = call.arg(0) else {
        return Err(call.wrong(expected, call.arg(0)));
    };
    let meta: Option<Table> = job.metatable();
    let process = meta.map(|meta| meta.raw_get::<Value>(PROCESS)).transpose()?;
    process
        .and_then(|process| this::<Process>(&process))
        .ok_or_else(|| call.wrong(expected, call.arg(0)))
}

fn job_wait(call: &mut Call<'_>) -> Answer {
    call.at_most(2)?;
    let process = process(call)?;
    let limit = match call.arg(1) {
        Value::Nil => None,
        value => Some(duration(value).map_err(|message| call.fail(format_args!("timeout: {message}")))?),
    };
    result(call, &process, limit)
}

fn job_kill(call: &mut Call<'_>) -> Answer {
    call.at_most(1)?;
    let process = process(call)?;
    process.kill(call)?;
    result(call, &process, None)
}

fn result(call: &Call<'_>, process: &Process, limit: Option<Duration>) -> Answer {
    let (ended, [stdout, stderr]) = process.look(call, limit)?;
    let table = call.lua().create_table()?;
    table.raw_set("running", ended.is_none())?;
    table.raw_set("exit_code", ended.map(exit_code))?;
    table.raw_set("stdout", call.lua().create_string(stdout)?)?;
    table.raw_set("stderr", call.lua().create_string(stderr)?)?;
    let meta = call.lua().create_table()?;
    set_result(
        &table,
        &meta,
        "result of a job",
        "`.exit_code == 0`, or `.running`",
    )?;
    one(call.lua(), table)
}
