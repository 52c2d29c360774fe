//! `Process`: a program of the guest that was started and goes on by itself.
//!
//! Enters: a command, then calls. Leaves: its output so far, how it is doing, how it ended. What it writes is kept by the
//! agent until it is asked for and here from then on, whole. Once it was waited for, the agent knows it no more and
//! everything is answered from memory. Absent on purpose: an end by itself; the scope it was started in ends it.

use std::cell::{Cell, RefCell};
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::time::Duration;

use mlua::{Table, Value};
use provium_protocol::{ExitStatus, Follow};

use crate::guest::{ExecOutcome, ExecSpec, GuestError, Moment, Started};
use crate::lua::api::binding::{Kind, Method};
use crate::lua::api::call::{Answer, Call, Raise, duration, none, one};
use crate::lua::api::location::{self, Place};
use crate::lua::api::signal;
use crate::lua::objects::agent::{Made, ask};
use crate::lua::objects::capture::{Capture, Feeder, OUTPUTS};
use crate::lua::objects::remote::Remote;
use crate::lua::objects::run_result::RunResult;
use crate::lua::objects::{command, tail};
use crate::lua::state::scope::Resource;
use crate::lua::test::file::{OpenStream, Sort};

/// How long output that is on its way may take to arrive when its program has ended.
const ARRIVAL: Duration = Duration::from_secs(20);

/// A program that was started.
#[derive(Clone)]
pub(crate) struct Process(Rc<Shared>);

struct Shared {
    made: Made,
    started: Started,
    command: String,
    site: Option<Place>,
    capture: RefCell<Arc<Capture>>,
    feeders: RefCell<[Weak<Feeder>; OUTPUTS]>,
    /// How much was captured when something was last asked in each stretch of the guest's life: where to go back to
    /// when the guest goes back.
    marks: RefCell<Vec<(Moment, [u64; OUTPUTS])>>,
    end: RefCell<Option<(Moment, End)>>,
    stdin_closed: Cell<Option<Moment>>,
}

/// Why nothing is asked of the agent any more.
#[derive(Clone)]
enum End {
    Waited(RunResult, ExitStatus),
    Closed,
}

impl Shared {
    /// Whether something that happened then holds, in a guest that may have been put back since.
    fn holds(&self, moment: Moment) -> bool {
        let agent = self.made.agent();
        agent.holds(moment) || !self.made.is_there()
    }

    fn end(&self) -> Option<End> {
        let end = self.end.borrow();
        let (moment, end) = end.as_ref()?;
        self.holds(*moment).then(|| end.clone())
    }

    fn has_ended(&self) -> bool {
        self.end().is_some()
    }

    /// What was captured of the guest as it is now.
    fn capture(&self) -> Arc<Capture> {
        let mut marks = self.marks.borrow_mut();
        let known = marks.len();
        marks.retain(|(moment, _)| self.holds(*moment));
        if marks.len() < known {
            let lengths = marks.last().map_or([0; OUTPUTS], |(_, lengths)| *lengths);
            let cut = self.capture.borrow().cut(lengths);
            *self.capture.borrow_mut() = Arc::new(cut);
            self.feeders.take();
        }
        Arc::clone(&self.capture.borrow())
    }

    /// Notes how much is captured now.
    fn mark(&self) {
        let lengths = self.capture().lengths();
        let now = self.made.agent().now();
        let mut marks = self.marks.borrow_mut();
        match marks.last_mut() {
            Some((moment, known)) if *moment == now => *known = lengths,
            _ => marks.push((now, lengths)),
        }
    }
}

impl OpenStream for Shared {
    fn open_at(&self) -> Option<String> {
        let open = !self.has_ended() && self.made.is_there();
        open.then(|| location::shown_place(self.site.as_ref()))
    }

    fn vm(&self) -> String {
        self.made.agent().vm()
    }

    fn what(&self) -> String {
        format!("a process (`{}`)", self.command)
    }

    fn sort(&self) -> Sort {
        Sort::Process
    }
}

impl Resource for Shared {
    fn begin_close(&self) {
        if !self.has_ended() {
            let handle = self.started.handle;
            self.made.settle(|client| client.begin_end_process(handle));
        }
    }

    fn close(&self) {
        if !self.has_ended() {
            let handle = self.started.handle;
            self.made.settle(|client| client.end_process(handle));
            self.closed();
        }
    }

    fn console_tail(&self) -> Option<(String, String)> {
        None
    }
}

impl Shared {
    fn closed(&self) {
        *self.end.borrow_mut() = Some((self.made.agent().now(), End::Closed));
    }
}

/// `run_async(cmd, opts?)`.
pub(crate) fn run_async<T: Remote>(call: &mut Call<'_>, remote: &T) -> Answer {
    let command = command::background(call)?;
    let process = Process::start(call, remote, &command.spec, command.shown)?;
    one(call.lua(), process.into_userdata(call.lua())?)
}

impl Process {
    /// Starts a program, which the current scope ends; `shown` is how messages show it.
    pub(crate) fn start<T: Remote>(
        call: &Call<'_>,
        remote: &T,
        spec: &ExecSpec,
        shown: String,
    ) -> Result<Process, Raise> {
        let agent = remote.agent();
        let started = ask(&*agent, call, |client| client.start(spec))?;
        let shared = Rc::new(Shared {
            made: Made::now(call, agent),
            started,
            command: shown,
            site: location::caller(call.lua()),
            capture: RefCell::default(),
            feeders: RefCell::default(),
            marks: RefCell::default(),
            end: RefCell::default(),
            stdin_closed: Cell::default(),
        });
        shared.mark();
        let file = call.file();
        let weak: Weak<Shared> = Rc::downgrade(&shared);
        file.streams.borrow_mut().push(weak);
        file.scopes.own(Rc::clone(&shared) as Rc<dyn Resource>);
        Ok(Process(shared))
    }

    /// By which the agent knows it.
    pub(crate) fn started(&self) -> Started {
        self.0.started
    }

    /// Kills it with its whole process group.
    pub(crate) fn kill(&self, call: &Call<'_>) -> Result<(), Raise> {
        if self.0.has_ended() {
            return Ok(());
        }
        let handle = self.0.started.handle;
        self.0
            .made
            .ask(call, |client| client.signal_process(handle, signal::KILL))
    }

    /// Waits for its end, at most for `limit`, and leaves it running: how it ended, if it did, and all it wrote so far.
    pub(crate) fn look(
        &self,
        call: &Call<'_>,
        limit: Option<Duration>,
    ) -> Result<(Option<ExitStatus>, [Vec<u8>; OUTPUTS]), Raise> {
        let status = match self.0.end() {
            Some(End::Waited(_, status)) => Some(status),
            Some(End::Closed) => return Err(call.fail("the job was ended; nobody knows how")),
            None => ended(call, &self.0, limit, false)?.map(|(_, status)| status),
        };
        Ok((status, self.0.capture().so_far()))
    }
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
        Some(End::Waited(result, _)) => return one(call.lua(), result.into_userdata(call.lua())?),
        Some(End::Closed) => return Err(call.fail("the process was closed; nobody knows how it ended")),
        None => {}
    }
    match ended(call, this, limit, true)? {
        Some((result, _)) => one(call.lua(), result.into_userdata(call.lua())?),
        None => Err(call.fail("the process was killed and is still there")),
    }
}

/// Waits for its end, at most for `limit`; past it, `kill` ends it. `None` while it runs.
fn ended(
    call: &Call<'_>,
    this: &Shared,
    limit: Option<Duration>,
    kill: bool,
) -> Result<Option<(RunResult, ExitStatus)>, Raise> {
    let (handle, capture) = (this.started.handle, this.capture());
    let from = capture.lengths();
    let waited = this
        .made
        .ask(call, |client| client.wait_process(handle, limit, kill, from))?;
    capture.add(&waited.output);
    this.mark();
    let Some(ended) = waited.ended else {
        return Ok(None);
    };
    let [stdout, stderr] = capture.finish(ARRIVAL).map_err(|message| call.fail(message))?;
    this.mark();
    let outcome = ExecOutcome {
        status: ended.status,
        stdout,
        stderr,
        duration: Duration::from_nanos(ended.duration_ns),
    };
    let result = RunResult::new(call.lua(), this.command.clone(), &outcome)?;
    let now = this.made.agent().now();
    *this.end.borrow_mut() = Some((now, End::Waited(result.clone(), ended.status)));
    Ok(Some((result, ended.status)))
}

fn send(call: &Call<'_>, process: &Process, default: i32) -> Answer {
    call.at_most(1)?;
    let signal = signal::read(call.arg(0)).map_err(|message| call.fail(message))?;
    let this = &process.0;
    if !this.has_ended() {
        let (handle, signal) = (this.started.handle, signal.unwrap_or(default));
        this.made
            .ask(call, |client| client.signal_process(handle, signal))?;
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
            this.made.ask(call, |client| client.process_state(handle))?.pid
        }
    };
    one(call.lua(), pid)
}

fn status(call: &mut Call<'_>, process: &Process) -> Answer {
    call.at_most(0)?;
    let this = &process.0;
    let table = call.lua().create_table()?;
    let (running, ended) = match this.end() {
        Some(End::Waited(_, status)) => (false, Some(status)),
        Some(End::Closed) => (false, None),
        None => {
            let handle = this.started.handle;
            let state = this.made.ask(call, |client| client.process_state(handle))?;
            (state.ended.is_none(), state.ended.map(|ended| ended.status))
        }
    };
    table.raw_set("running", running)?;
    if let Some(status) = ended {
        set_status(&table, status)?;
    }
    one(call.lua(), table)
}

/// Fields `exit_code` and `signal` of how a program ended.
pub(crate) fn set_status(table: &Table, status: ExitStatus) -> Result<(), Raise> {
    let (code, signal) = match status {
        ExitStatus::Exited(code) => (code, None),
        ExitStatus::Signalled(signal) => (-1, Some(signal)),
        ExitStatus::TimedOut => (-2, None),
    };
    table.raw_set("exit_code", code)?;
    table.raw_set("signal", signal)?;
    Ok(())
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
        .ask(call, |client| client.write_stdin(handle, &mut data.as_slice()))?;
    one(call.lua(), i64::try_from(written).unwrap_or(i64::MAX))
}

fn close_stdin(call: &mut Call<'_>, process: &Process) -> Answer {
    call.at_most(0)?;
    let this = &process.0;
    let closed = this.stdin_closed.get().is_some_and(|moment| this.holds(moment));
    if !closed {
        if !this.has_ended() {
            let handle = this.started.handle;
            this.made.ask(call, |client| client.close_stdin(handle))?;
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
    let tail = tail::of_output(call, made, &capture, which, feeder, shown, closed);
    one(call.lua(), tail.into_userdata(call.lua())?)
}

/// What brings an output here: one thread, however many streams of it are open.
fn feeder(call: &Call<'_>, this: &Shared, capture: &Arc<Capture>, which: usize) -> Result<Rc<Feeder>, Raise> {
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
