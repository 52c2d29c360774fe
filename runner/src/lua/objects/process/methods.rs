//! `Process`: a program of the guest that goes on by itself, as Lua sees it.
//!
//! Input: calls of a test. Output: signals, waiting, standard input, streams of the output. Not here: what is
//! known of the program; `handle` has that.

use std::rc::Rc;
use std::sync::Arc;

use mlua::Value;
use provium_guest::{Follow, GuestError, ops};

use super::capture::{Capture, Feeder};
use super::captured::of_output;
use super::command;
use super::handle::{Process, ProcessEnd, StartedProgram, ended};
use super::run_result::set_status;
use crate::lua::api::binding::{Kind, Method};
use crate::lua::api::call::Call;
use crate::lua::api::raise::{Answer, Raise, none, one};
use crate::lua::api::signal;
use crate::lua::api::value::duration;
use crate::lua::objects::agent::Made;
use crate::lua::objects::remote::Remote;

/// `run_async(cmd, opts?)`.
pub(crate) fn run_async<T: Remote>(call: &mut Call<'_>, remote: &T) -> Answer {
    let command = command::background(call)?;
    let process = Process::start(call, remote, command)?;
    one(call.lua(), process.into_userdata(call.lua())?)
}

impl Kind for Process {
    const NAME: &'static str = "Process";
    const PREFIX: &'static str = "proc";

    fn methods() -> Vec<Method<Process>> {
        vec![
            Method {
                name: "wait",
                signature: "(timeout?: number|string): RunResult",
                doc: "Waits until it has ended; past the timeout it is killed.",
                run: wait,
            },
            Method {
                name: "kill",
                signature: "(sig?: integer|string)",
                doc: "Sends it a signal, SIGTERM if none is given.",
                run: |call, process| send(call, process, signal::TERM),
            },
            Method {
                name: "signal",
                signature: "(sig: integer|string)",
                doc: "Sends it a signal.",
                run: |call, process| match call.arg(0) {
                    Value::Nil => Err(call.wrong("a signal (a name or a number)", call.arg(0))),
                    _ => send(call, process, signal::TERM),
                },
            },
            Method {
                name: "pid",
                signature: "(): integer",
                doc: "Its process id in the guest.",
                run: pid,
            },
            Method {
                name: "handle",
                signature: "(): integer",
                doc: "The agent's number for it, which never changes.",
                run: |call, process| {
                    call.at_most(0)?;
                    one(call.lua(), process.0.started.handle.cast_signed())
                },
            },
            Method {
                name: "status",
                signature: "(): {running: boolean, exit_code: integer?, signal: integer?}",
                doc: "How it is doing, without waiting.",
                run: status,
            },
            Method {
                name: "stdin_write",
                signature: "(data: string): integer",
                doc: "Writes to its standard input; returns the bytes written.",
                run: stdin_write,
            },
            Method {
                name: "close_stdin",
                signature: "()",
                doc: "Closes its standard input, behind what was written.",
                run: close_stdin,
            },
            Method {
                name: "stdout_stream",
                signature: "(): Tail",
                doc: "A stream of its standard output, from the first byte on.",
                run: |call, process| stream(call, process, 0),
            },
            Method {
                name: "stderr_stream",
                signature: "(): Tail",
                doc: "A stream of its standard error, from the first byte on.",
                run: |call, process| stream(call, process, 1),
            },
            Method {
                name: "close",
                signature: "()",
                doc: "Ends it: SIGTERM, and SIGKILL 2 seconds later. Does nothing once it was waited for.",
                run: |call, process| {
                    call.at_most(0)?;
                    let this = &process.0;
                    if !this.has_ended() && this.made.is_there() {
                        let handle = this.started.handle;
                        this.made.ask(call, |client| client.end_process(handle))?;
                        this.closed();
                    }
                    none()
                },
            },
        ]
    }

    fn describe(&self) -> String {
        let agent = self.0.made.agent().shown();
        format!(
            "Process `{}` (pid {}) of {agent}",
            self.0.command, self.0.started.pid
        )
    }

    fn same(&self, other: &Process) -> bool {
        Rc::ptr_eq(&self.0, &other.0)
    }
}

fn wait(call: &mut Call<'_>, process: &Process) -> Answer {
    call.at_most(1)?;
    let limit = match call.arg(0) {
        Value::Nil => None,
        value => Some(duration(value).map_err(|message| call.fail(format_args!("timeout: {message}")))?),
    };
    if limit.is_some_and(|limit| limit.is_zero()) {
        return Err(call.fail(
            "a timeout of 0 would kill the process at once; use proc:status() to look without waiting",
        ));
    }
    let this = &process.0;
    match this.end() {
        Some(ProcessEnd::Waited(result, _)) => return one(call.lua(), result.into_userdata(call.lua())?),
        Some(ProcessEnd::Closed) => {
            return Err(call.fail("the process was closed; nobody knows how it ended"));
        }
        None => {}
    }
    match ended(call, this, limit, true)? {
        Some((result, _)) => one(call.lua(), result.into_userdata(call.lua())?),
        None => Err(call.fail("the process was killed and is still there")),
    }
}

fn send(call: &Call<'_>, process: &Process, default: i32) -> Answer {
    call.at_most(1)?;
    let signal = signal::read(call.arg(0)).map_err(|message| call.fail(message))?;
    let this = &process.0;
    if !this.has_ended() {
        let (handle, signal) = (this.started.handle, signal.unwrap_or(default));
        this.made
            .ask(call, |client| client.ask(ops::signal_process(handle, signal)))?;
    }
    none()
}

fn pid(call: &mut Call<'_>, process: &Process) -> Answer {
    call.at_most(0)?;
    let this = &process.0;
    let pid = match this.has_ended() {
        true => this.started.pid,
        false => {
            let handle = this.started.handle;
            this.made
                .ask(call, |client| client.ask(ops::process_state(handle)))?
                .pid
        }
    };
    one(call.lua(), pid)
}

fn status(call: &mut Call<'_>, process: &Process) -> Answer {
    call.at_most(0)?;
    let this = &process.0;
    let table = call.lua().create_table()?;
    let (running, ended) = match this.end() {
        Some(ProcessEnd::Waited(_, status)) => (false, Some(status)),
        Some(ProcessEnd::Closed) => (false, None),
        None => {
            let handle = this.started.handle;
            let state = this
                .made
                .ask(call, |client| client.ask(ops::process_state(handle)))?;
            (state.ended.is_none(), state.ended.map(|ended| ended.status))
        }
    };
    table.raw_set("running", running)?;
    if let Some(status) = ended {
        set_status(&table, status)?;
    }
    one(call.lua(), table)
}

fn stdin_write(call: &mut Call<'_>, process: &Process) -> Answer {
    call.at_most(1)?;
    let data = call.string(0, "a string to write")?.as_bytes().to_vec();
    let this = &process.0;
    if this.stdin_closed.get().is_some_and(|moment| this.holds(moment)) {
        return Err(call.fail("standard input is closed"));
    }
    if this.has_ended() {
        return Err(call.fail("the process has ended"));
    }
    let handle = this.started.handle;
    let written = this
        .made
        .ask(call, |client| client.ask(ops::write_stdin(handle, data)))?;
    one(call.lua(), i64::try_from(written).unwrap_or(i64::MAX))
}

fn close_stdin(call: &mut Call<'_>, process: &Process) -> Answer {
    call.at_most(0)?;
    let this = &process.0;
    let closed = this.stdin_closed.get().is_some_and(|moment| this.holds(moment));
    if !closed {
        if !this.has_ended() {
            let handle = this.started.handle;
            this.made
                .ask(call, |client| client.ask(ops::close_stdin(handle)))?;
        }
        this.stdin_closed.set(Some(this.made.agent().now()));
    }
    none()
}

fn stream(call: &Call<'_>, process: &Process, which: usize) -> Answer {
    call.at_most(0)?;
    let this = &process.0;
    let capture = this.capture();
    let feeder = match this.has_ended() {
        true => None,
        false => Some(feeder(call, this, &capture, which)?),
    };
    let kind = ["proc_stdout_stream", "proc_stderr_stream"][which];
    let shown = format!("{kind} of process {}, `{}`", this.started.handle, this.command);
    let weak = Rc::downgrade(this);
    let closed = Box::new(move || {
        if let Some(this) = weak.upgrade() {
            this.mark();
        }
    });
    let made = Made::now(call, Rc::clone(this.made.agent()));
    let tail = of_output(call, made, &capture, which, feeder, shown, closed);
    one(call.lua(), tail.into_userdata(call.lua())?)
}

/// The thread that brings an output here: one, however many streams of it are open.
fn feeder(
    call: &Call<'_>,
    this: &StartedProgram,
    capture: &Arc<Capture>,
    which: usize,
) -> Result<Rc<Feeder>, Raise> {
    let busy = this.feeders.borrow()[which].upgrade();
    if let Some(feeder) = busy.filter(|feeder| feeder.is_busy()) {
        return Ok(feeder);
    }
    this.made.check(call)?;
    let session = this.made.agent().session(call)?;
    let follow = Follow::Output {
        handle: this.started.handle,
        stderr: which == 1,
        from: capture.lengths()[which],
    };
    let begun: Result<Rc<Feeder>, GuestError> = session
        .follow(follow)
        .and_then(|stream| Feeder::start(capture, which, stream));
    let feeder = begun.map_err(|error| {
        let agent = this.made.agent().shown();
        call.fail(format_args!("{agent}: {error}"))
    })?;
    this.feeders.borrow_mut()[which] = Rc::downgrade(&feeder);
    Ok(feeder)
}
