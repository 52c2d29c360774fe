//! `SyscallHandle`: a system call of the guest on a thread of its own.
//!
//! Input: a call that may block, then questions about it. Output: its result, once it has come back. Not
//! here: taking it back; a call that blocks is ended by what it waits for, or with its agent's process.

use std::cell::{Cell, RefCell};
use std::rc::{Rc, Weak};
use std::time::Duration;

use mlua::Value;
use provium_guest::{Epoch, GuestError, Started, SyscallResult, ops};

use super::arguments;
use crate::lua::api::binding::{Kind, Method};
use crate::lua::api::call::Call;
use crate::lua::api::location::{self, Place};
use crate::lua::api::raise::{Answer, Raise, one};
use crate::lua::api::value::{duration, seconds};
use crate::lua::objects::agent::{Made, ask};
use crate::lua::objects::remote::Remote;
use crate::lua::state::scope::{Held, Opened, OpenedSort};

/// A system call that was started, as Lua has it.
#[derive(Clone)]
pub(crate) struct SyscallHandle(Rc<StartedSyscall>);

/// A system call that was started, and its result once it is back.
struct StartedSyscall {
    made: Made,
    started: Started,
    /// Sizes of its buffers.
    sizes: Vec<usize>,
    site: Option<Place>,
    result: RefCell<Option<(Epoch, SyscallResult)>>,
    /// When it was heard that the kernel has ended its thread, if that was.
    lost: Cell<Option<Epoch>>,
}

impl StartedSyscall {
    fn is_back(&self) -> bool {
        let result = self.result.borrow();
        let holds = |moment| self.made.agent().holds(moment) || !self.made.is_there();
        result.as_ref().is_some_and(|(moment, ..)| holds(*moment))
    }

    /// Whether it can never come back.
    fn is_lost(&self) -> bool {
        self.lost
            .get()
            .is_some_and(|moment| self.made.agent().holds(moment))
    }

    /// Waits for it, unless it is back; says whether it is.
    fn wait(&self, call: &Call<'_>, limit: Option<Duration>) -> Result<bool, Raise> {
        if self.is_lost() {
            return Err(call.fail("the guest's kernel has ended its thread, as an earlier wait for it said"));
        }
        if !self.is_back() {
            let handle = self.started.handle;
            let now = self.made.agent().now();
            let answer = self.made.ask(call, |client| {
                let answer = client.ask(ops::wait_syscall(handle, limit, self.sizes.clone()));
                if matches!(&answer, Err(GuestError::ThreadEnded { thread, .. }) if !thread.served) {
                    self.lost.set(Some(now));
                }
                answer
            })?;
            *self.result.borrow_mut() = answer.map(|result| (self.made.agent().now(), result));
        }
        Ok(self.is_back())
    }
}

impl Held for StartedSyscall {
    /// Does nothing: what the system call waits for ends it, or the end of its agent's process.
    fn close(&self) {}

    fn opened(&self) -> Option<Opened> {
        let open = !self.is_back() && !self.is_lost() && self.made.is_there();
        open.then(|| Opened {
            sort: OpenedSort::Process,
            vm: self.made.agent().vm(),
            what: "a system call".to_owned(),
            site: location::shown_place(self.site.as_ref()),
        })
    }
}

/// `syscall_async(nr, …)`.
pub(crate) fn syscall_async<T: Remote>(call: &mut Call<'_>, remote: &T) -> Answer {
    let request = arguments::arguments(call)?;
    let sizes = request.bufs.iter().map(|buf| buf.len()).collect();
    let agent = remote.agent();
    let started = ask(&*agent, call, |client| client.ask(ops::start_syscall(request)))?;
    let shared = Rc::new(StartedSyscall {
        made: Made::now(call, agent),
        started,
        sizes,
        site: location::caller(call.lua()),
        result: RefCell::default(),
        lost: Cell::new(None),
    });
    let weak: Weak<StartedSyscall> = Rc::downgrade(&shared);
    call.file().scopes.watch(weak);
    one(call.lua(), SyscallHandle(shared).into_userdata(call.lua())?)
}

impl Kind for SyscallHandle {
    const NAME: &'static str = "SyscallHandle";
    const PREFIX: &'static str = "handle";

    fn methods() -> Vec<Method<SyscallHandle>> {
        vec![
            Method {
                name: "await",
                signature: "(timeout?: number|string): table",
                doc: "Its result, as `syscall` returns it; an error when it is not back in time.",
                run: await_result,
            },
            Method {
                name: "done",
                signature: "(): boolean",
                doc: "Whether it has come back.",
                run: |call, handle| {
                    call.at_most(0)?;
                    let done = handle.0.wait(call, Some(Duration::ZERO))?;
                    one(call.lua(), done)
                },
            },
        ]
    }

    fn describe(&self) -> String {
        let agent = self.0.made.agent().shown();
        format!("SyscallHandle (thread {}) of {agent}", self.0.started.pid)
    }

    fn same(&self, other: &SyscallHandle) -> bool {
        Rc::ptr_eq(&self.0, &other.0)
    }
}

fn await_result(call: &mut Call<'_>, handle: &SyscallHandle) -> Answer {
    call.at_most(1)?;
    let limit = match call.arg(0) {
        Value::Nil => None,
        value => Some(duration(value).map_err(|message| call.fail(format_args!("timeout: {message}")))?),
    };
    if !handle.0.wait(call, limit)? {
        let limit = seconds(limit.unwrap_or_default());
        return Err(call.fail(format_args!(
            "the system call has not come back within {limit}s; it goes on"
        )));
    }
    let result = handle.0.result.borrow();
    match result.as_ref() {
        Some((_, (ret, bufs))) => arguments::result(call.lua(), *ret, bufs),
        None => Err(call.fail("the system call has no result")),
    }
}
