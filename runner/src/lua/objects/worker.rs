//! `Worker`: another process or thread of the guest's agent, which answers as the VM's own does.
//!
//! Input: calls of a test. Output: what happened in the worker, whose credentials, descriptors and programs
//! are its own. What was made through it ends with it. Not here: talk between workers; files and pipes of the
//! guest do that.

use std::cell::{Cell, RefCell};
use std::rc::{Rc, Weak};
use std::sync::Arc;

use mlua::Value;
use provium_base::cancel::Cancel;
use provium_guest::{Epoch, GuestClient, GuestError, WorkerAddress, ops};

use crate::lua::api::binding::{Kind, Method};
use crate::lua::api::call::Call;
use crate::lua::api::location::{self, Place};
use crate::lua::api::raise::{Answer, Raise, none, one};
use crate::lua::api::signal;
use crate::lua::objects::agent::{self, Agent, Question};
use crate::lua::objects::process::run_result::set_status;
use crate::lua::objects::remote::Remote;
use crate::lua::objects::vm::handle::Vm;
use crate::lua::state::scope::{Held, Opened, OpenedSort};

/// A worker as Lua has it.
#[derive(Clone)]
pub(crate) struct Worker(Rc<SpawnedWorker>);

/// A worker that was spawned, and the session with it.
struct SpawnedWorker {
    vm: Vm,
    spawned: WorkerAddress,
    /// The agent's number for it.
    ticket: u64,
    moment: Epoch,
    site: Option<Place>,
    client: RefCell<Option<GuestClient>>,
    streams: RefCell<Vec<Weak<dyn Held>>>,
    cancel: Arc<Cancel>,
    ending: Cell<bool>,
}

impl Worker {
    /// Makes a worker of `vm`: a process of its own, or a thread of the agent.
    fn spawn(call: &Call<'_>, vm: &Vm, thread: bool) -> Result<Worker, Raise> {
        let failed = |error| call.fail(format_args!("VM `{}`: {error}", vm.name()));
        let parked = vm.session(call)?.park().map_err(failed)?;
        let ticket = parked.ticket;
        let (client, spawned) = agent::ask(vm, call, |client| client.spawn_worker(parked, thread))?;
        let file = call.file();
        let shared = Rc::new(SpawnedWorker {
            vm: vm.clone(),
            spawned,
            ticket,
            moment: vm.now(),
            site: location::caller(call.lua()),
            client: RefCell::new(Some(client)),
            streams: RefCell::default(),
            cancel: Arc::clone(&file.job().cancel),
            ending: Cell::new(false),
        });
        file.scopes.own(Rc::clone(&shared) as Rc<dyn Held>);
        Ok(Worker(shared))
    }

    /// The worker in words, for `tostring`.
    pub(crate) fn shown(&self) -> String {
        let spawned = &self.0.spawned;
        let thread = match spawned.tid == spawned.pid {
            true => String::new(),
            false => format!(", thread {}", spawned.tid),
        };
        let closed = if self.0.is_gone() { ", closed" } else { "" };
        let vm = self.0.vm.name();
        format!("Worker (pid {}{thread}) of VM `{vm}`{closed}", spawned.pid)
    }

    /// Whether it and `other` are the same worker.
    pub(crate) fn is(&self, other: &Worker) -> bool {
        Rc::ptr_eq(&self.0, &other.0)
    }
}

impl SpawnedWorker {
    /// Asks a question for which no call waits; a guest that does not answer is ended.
    fn settle_now(&self, mut question: impl FnMut(&mut GuestClient) -> Result<(), GuestError>) {
        agent::settle(self, &self.cancel, &mut question);
    }

    /// Ends it at once: its streams and its connection are closed, and the guest ends by itself what it had.
    fn hang_up(&self) {
        for stream in self.streams.take().iter().filter_map(Weak::upgrade) {
            stream.close();
        }
        self.client.take();
    }
}

impl Agent for SpawnedWorker {
    fn question(&self, call: &Call<'_>, question: Question<'_>) -> Result<(), Raise> {
        self.vm.open(call)?;
        let mut client = self.client.borrow_mut();
        let Some(client) = client.as_mut() else {
            return Err(call.fail(format_args!("the worker of VM `{}` is closed", self.vm.name())));
        };
        if !self.vm.holds(self.moment) {
            return Err(call.fail(format_args!(
                "the worker was spawned before VM `{}` was booted, restored or put back; it is gone",
                self.vm.name()
            )));
        }
        let cancel = call.file().cancel();
        let answer = self.vm.core().call_on(client, &cancel, question);
        answer.map_err(|error| self.vm.failed(call, error))
    }

    fn settle(&self, cancel: &Arc<Cancel>, question: Question<'_>) {
        if let Some(client) = self.client.borrow_mut().as_mut() {
            self.vm.at_rest(|core| {
                // Nobody is left who could do better.
                if let Err(error) = core.call_on(client, cancel, question) {
                    tracing::debug!(%error, "a worker's thing could not be ended");
                }
            });
        }
    }

    fn session(&self, call: &Call<'_>) -> Result<GuestClient, Raise> {
        self.vm.session_on(call, self.spawned.port)
    }

    fn now(&self) -> Epoch {
        self.vm.now()
    }

    fn holds(&self, moment: Epoch) -> bool {
        self.vm.holds(moment)
    }

    fn vm(&self) -> String {
        self.vm.name().to_owned()
    }

    fn shown(&self) -> String {
        format!("the worker (pid {}) of VM `{}`", self.spawned.pid, self.vm.name())
    }

    fn is_gone(&self) -> bool {
        self.ending.get()
            || self.vm.is_gone()
            || !self.vm.holds(self.moment)
            || self.client.try_borrow().is_ok_and(|client| client.is_none())
    }

    fn outlives(&self, thing: Weak<dyn Held>) {
        let mut streams = self.streams.borrow_mut();
        streams.retain(|stream| stream.strong_count() > 0);
        streams.push(thing);
    }
}

impl Held for SpawnedWorker {
    fn begin_close(&self) {
        if !self.is_gone() {
            self.settle_now(GuestClient::begin_end_processes);
            // What was made through it ends with it.
            self.ending.set(true);
        }
    }

    fn close(&self) {
        if !self.vm.is_gone() && self.vm.holds(self.moment) {
            self.settle_now(GuestClient::end_processes);
        }
        self.hang_up();
    }

    fn opened(&self) -> Option<Opened> {
        (!self.is_gone()).then(|| Opened {
            sort: OpenedSort::Worker,
            vm: self.vm.name().to_owned(),
            what: format!("a worker (pid {})", self.spawned.pid),
            site: location::shown_place(self.site.as_ref()),
        })
    }
}

impl Remote for Worker {
    fn is_classic(&self) -> bool {
        self.0.vm.is_classic()
    }

    fn agent(&self) -> Rc<dyn Agent> {
        Rc::clone(&self.0) as Rc<dyn Agent>
    }
}

/// `spawn_worker({thread=})`.
fn spawn_worker(call: &mut Call<'_>, vm: &Vm) -> Answer {
    call.at_most(1)?;
    let options = call.options(0)?;
    let thread = options.boolean("thread")?.unwrap_or(false);
    options.finish()?;
    let worker = Worker::spawn(call, vm, thread)?;
    one(call.lua(), worker.into_userdata(call.lua())?)
}

/// The methods `spawn_worker` and `spawn` of a VM.
pub(crate) fn vm_methods() -> Vec<Method<Vm>> {
    vec![
        Method {
            name: "spawn_worker",
            signature: "(opts?: {thread: boolean}): Worker",
            doc: "Makes a worker: a process of the agent's, or with `thread` a thread of it.",
            run: spawn_worker,
        },
        Method {
            name: "spawn",
            signature: "(opts?: {thread: boolean}): Worker",
            doc: "The same as `spawn_worker`, by its classic name.",
            run: spawn_worker,
        },
    ]
}

/// The methods of a worker beside those that every remote has.
pub(crate) fn methods() -> Vec<Method<Worker>> {
    vec![
        Method {
            name: "kill",
            signature: "(sig?: integer|string): integer",
            doc: "Sends a signal, SIGTERM if none is given, to every program it has started; returns how many.",
            run: kill,
        },
        Method {
            name: "join",
            signature: "(): table[]",
            doc: "Waits until every program it has started has ended; says how each did.",
            run: join,
        },
        Method {
            name: "handle",
            signature: "(): integer",
            doc: "The agent's number for it, which never changes.",
            run: |call, worker| {
                call.at_most(0)?;
                one(call.lua(), worker.0.ticket.cast_signed())
            },
        },
        Method {
            name: "pid",
            signature: "(): integer",
            doc: "Its process id in the guest; the agent's own, if it is a thread.",
            run: |call, worker| {
                call.at_most(0)?;
                one(call.lua(), worker.0.spawned.pid)
            },
        },
        Method {
            name: "close",
            signature: "()",
            doc: "Ends its programs, closes its files and ends it; calling it again does nothing.",
            run: |call, worker| {
                call.at_most(0)?;
                worker.0.close();
                none()
            },
        },
    ]
}

fn kill(call: &mut Call<'_>, worker: &Worker) -> Answer {
    call.at_most(1)?;
    if worker.is_classic() && call.arg(0).is_nil() {
        // In that dialect it is the worker that ends.
        worker.0.hang_up();
        return none();
    }
    let signal = signal::read(call.arg(0)).map_err(|message| call.fail(message))?;
    let signal = signal.unwrap_or(signal::TERM);
    let count = worker.ask(call, |client| client.ask(ops::signal_processes(signal)))?;
    one(call.lua(), i64::try_from(count).unwrap_or(i64::MAX))
}

fn join(call: &mut Call<'_>, worker: &Worker) -> Answer {
    call.at_most(0)?;
    let ended = worker.ask(call, |client| client.ask(ops::join_processes()))?;
    let list = call.lua().create_table_with_capacity(ended.len(), 0)?;
    for joined in ended {
        let entry = call.lua().create_table()?;
        entry.raw_set("handle", joined.handle.cast_signed())?;
        entry.raw_set("pid", joined.pid)?;
        set_status(&entry, joined.ended.status)?;
        list.raw_push(Value::Table(entry))?;
    }
    one(call.lua(), list)
}
