//! A program of the guest that was started and goes on by itself.
//!
//! Input: a command, then questions. Output: its output so far, how it ended. What it writes is held by the
//! agent until it is asked for and here from then on, whole. Once it was waited for, the agent knows it no
//! more and everything is answered from memory. Not here: an end by itself, since the scope it was started in
//! ends it; and the methods that Lua finds.

use std::cell::{Cell, RefCell};
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::time::Duration;

use provium_guest::{Epoch, ExecOutcome, ExitStatus, Started, ops};

use super::capture::{Capture, Feeder, OUTPUTS};
use super::command::Command;
use super::run_result::RunResult;
use crate::lua::api::call::Call;
use crate::lua::api::location::{self, Place};
use crate::lua::api::raise::Raise;
use crate::lua::api::signal;
use crate::lua::objects::agent::{Made, ask};
use crate::lua::objects::remote::Remote;
use crate::lua::state::scope::{Held, Opened, OpenedSort};

/// Time limit for output that is on its way when its program has ended.
const OUTPUT_LIMIT: Duration = Duration::from_secs(20);

/// A program that was started, as Lua has it.
#[derive(Clone)]
pub(crate) struct Process(pub(super) Rc<StartedProgram>);

/// A program of the guest, and what was captured of its output.
pub(super) struct StartedProgram {
    pub(super) made: Made,
    pub(super) started: Started,
    pub(super) command: String,
    site: Option<Place>,
    capture: RefCell<Arc<Capture>>,
    pub(super) feeders: RefCell<[Weak<Feeder>; OUTPUTS]>,
    /// Number of bytes captured when something was last asked between two resets of the guest: where to go
    /// back to when the guest goes back.
    marks: RefCell<Vec<(Epoch, [u64; OUTPUTS])>>,
    end: RefCell<Option<(Epoch, ProcessEnd)>>,
    pub(super) stdin_closed: Cell<Option<Epoch>>,
}

/// Reason for which nothing is asked of the agent any more.
#[derive(Clone)]
pub(super) enum ProcessEnd {
    /// The program was waited for, and this is its result.
    Waited(RunResult, ExitStatus),
    /// The program was closed, and its result is not known.
    Closed,
}

impl StartedProgram {
    /// Whether something that happened then holds, in a guest that may have been put back since.
    pub(super) fn holds(&self, moment: Epoch) -> bool {
        let agent = self.made.agent();
        agent.holds(moment) || !self.made.is_there()
    }

    /// The end of the program, if it was waited for or closed.
    pub(super) fn end(&self) -> Option<ProcessEnd> {
        let end = self.end.borrow();
        let (moment, end) = end.as_ref()?;
        self.holds(*moment).then(|| end.clone())
    }

    /// Whether nothing is asked of the agent any more.
    pub(super) fn has_ended(&self) -> bool {
        self.end().is_some()
    }

    /// The output captured so far, cut where the guest was reset to an earlier moment.
    pub(super) fn capture(&self) -> Arc<Capture> {
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
    pub(super) fn mark(&self) {
        let lengths = self.capture().lengths();
        let now = self.made.agent().now();
        let mut marks = self.marks.borrow_mut();
        match marks.last_mut() {
            Some((moment, known)) if *moment == now => *known = lengths,
            _ => marks.push((now, lengths)),
        }
    }

    /// Notes that it was closed.
    pub(super) fn closed(&self) {
        *self.end.borrow_mut() = Some((self.made.agent().now(), ProcessEnd::Closed));
    }
}

impl Held for StartedProgram {
    fn begin_close(&self) {
        if !self.has_ended() {
            let handle = self.started.handle;
            self.made
                .settle(|client| client.ask(ops::begin_end_process(handle)));
        }
    }

    fn close(&self) {
        if !self.has_ended() {
            let handle = self.started.handle;
            self.made.settle(|client| client.end_process(handle));
            self.closed();
        }
    }

    fn opened(&self) -> Option<Opened> {
        let open = !self.has_ended() && self.made.is_there();
        open.then(|| Opened {
            sort: OpenedSort::Process,
            vm: self.made.agent().vm(),
            what: format!("a process (`{}`)", self.command),
            site: location::shown_place(self.site.as_ref()),
        })
    }
}

impl Process {
    /// Starts a program, which the current scope ends; `shown` is how messages show it.
    pub(crate) fn start<T: Remote>(call: &Call<'_>, remote: &T, command: Command) -> Result<Process, Raise> {
        let agent = remote.agent();
        let started = ask(&*agent, call, |client| {
            client.start(&command.spec).map_err(command.explanation())
        })?;
        let shared = Rc::new(StartedProgram {
            made: Made::now(call, agent),
            started,
            command: command.shown,
            site: location::caller(call.lua()),
            capture: RefCell::default(),
            feeders: RefCell::default(),
            marks: RefCell::default(),
            end: RefCell::default(),
            stdin_closed: Cell::default(),
        });
        shared.mark();
        call.file().scopes.own(Rc::clone(&shared) as Rc<dyn Held>);
        Ok(Process(shared))
    }

    /// The agent's handle for it and its process id.
    pub(crate) fn started(&self) -> Started {
        self.0.started
    }

    /// Kills it with its whole process group.
    pub(crate) fn kill(&self, call: &Call<'_>) -> Result<(), Raise> {
        if self.0.has_ended() {
            return Ok(());
        }
        let handle = self.0.started.handle;
        self.0.made.ask(call, |client| {
            client.ask(ops::signal_process(handle, signal::KILL))
        })
    }

    /// Waits for its end, at most for `limit`, and leaves it running: how it ended, if it did, and all it
    /// wrote so far.
    pub(crate) fn look(
        &self,
        call: &Call<'_>,
        limit: Option<Duration>,
    ) -> Result<(Option<ExitStatus>, [Vec<u8>; OUTPUTS]), Raise> {
        let status = match self.0.end() {
            Some(ProcessEnd::Waited(_, status)) => Some(status),
            Some(ProcessEnd::Closed) => return Err(call.fail("the job was ended; nobody knows how")),
            None => ended(call, &self.0, limit, false)?.map(|(_, status)| status),
        };
        Ok((status, self.0.capture().so_far()))
    }
}

/// Waits for the end of a program, at most for `limit`; past it, `kill` ends it. `None` while it runs.
pub(super) fn ended(
    call: &Call<'_>,
    this: &StartedProgram,
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
    let [stdout, stderr] = capture
        .finish(OUTPUT_LIMIT)
        .map_err(|message| call.fail(message))?;
    this.mark();
    let outcome = ExecOutcome {
        status: ended.status,
        stdout,
        stderr,
        duration: Duration::from_nanos(ended.duration_ns),
    };
    let result = RunResult::new(call.lua(), this.command.clone(), &outcome)?;
    let now = this.made.agent().now();
    *this.end.borrow_mut() = Some((now, ProcessEnd::Waited(result.clone(), ended.status)));
    Ok(Some((result, ended.status)))
}
