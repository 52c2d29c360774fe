//! `Console`: a VM's serial console.
//!
//! Input: calls of a test, bytes. Output: what the guest printed; bytes in the port's receive FIFO, as fast
//! as the guest empties it. Not here: looking for a text, which `expect` does; interpreting what is printed,
//! bytes stay bytes; echo and line editing, which are the guest's.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::{Duration, Instant};

use provium_guest::VmState;

use super::expect::{Marks, expect, printed};
use crate::lua::api::binding::{Kind, Method};
use crate::lua::api::call::Call;
use crate::lua::api::interrupt::ending;
use crate::lua::api::raise::{Answer, Raise, none, one};
use crate::lua::api::value::seconds;
use crate::lua::objects::stream::handle::{ByteSource, ConsoleStream};
use crate::lua::objects::vm::handle::Vm;

/// Time limit of `write` where nothing else is said.
const WRITE_TIMEOUT: Duration = Duration::from_secs(10);
/// Time between two looks at whether the test is over.
pub(super) const LOOK: Duration = Duration::from_millis(50);
/// Time that a full FIFO is left alone.
const FULL: Duration = Duration::from_millis(1);

/// The method `console` of a VM.
pub(crate) fn vm_methods() -> Vec<Method<Vm>> {
    vec![Method {
        name: "console",
        signature: "(): Console",
        doc: "Its serial console.",
        run: |call, vm| one(call.lua(), Console::new(vm.clone()).into_userdata(call.lua())?),
    }]
}

/// A handle of a VM's console.
#[derive(Clone)]
pub(crate) struct Console(Vm, Rc<ConsoleHandle>);

/// What a handle has of its own.
#[derive(Default)]
struct ConsoleHandle {
    closed: Cell<bool>,
    marks: RefCell<Marks>,
}

impl Console {
    /// A handle of the console of `vm`.
    fn new(vm: Vm) -> Console {
        Console(vm, Rc::default())
    }

    /// Positions behind what its `expect` has found.
    pub(super) fn marks(&self) -> &RefCell<Marks> {
        &self.1.marks
    }

    /// The VM of the console, unless that or the handle was closed.
    pub(super) fn open(&self, call: &Call<'_>) -> Result<&Vm, Raise> {
        self.live(call)?;
        self.0.open(call)?;
        Ok(&self.0)
    }

    /// Refuses a handle that was closed; what a VM has printed outlives the VM.
    fn live(&self, call: &Call<'_>) -> Result<(), Raise> {
        match self.1.closed.get() {
            false => Ok(()),
            true => Err(call.fail(format_args!("this console of VM `{}` is closed", self.0.name()))),
        }
    }

    /// Closes this handle.
    fn close(&self) {
        self.1.closed.set(true);
    }
}

impl Kind for Console {
    const NAME: &'static str = "Console";
    const PREFIX: &'static str = "console";

    fn methods() -> Vec<Method<Console>> {
        vec![
            Method {
                name: "read",
                signature: "(): ConsoleStream",
                doc: "A stream of what is printed, from the start or from what this handle's `expect` found last.",
                run: |call, console| {
                    call.at_most(0)?;
                    console.open(call)?;
                    let at = console.marks().borrow_mut().last(console.0.core().log_number());
                    let source = Box::new(ConsoleSource::new(&console.0, at));
                    let stream = ConsoleStream::open(call, source);
                    one(call.lua(), stream.into_userdata(call.lua())?)
                },
            },
            Method {
                name: "read_log",
                signature: "(): string",
                doc: "Everything printed since the VM's last boot.",
                run: |call: &mut Call<'_>, console| {
                    call.at_most(0)?;
                    console.live(call)?;
                    let log = console.0.core().console_log();
                    one(call.lua(), call.lua().create_string(log)?)
                },
            },
            Method {
                name: "expect",
                signature: "(text: string, timeout?: number|string|table, opts?: {pattern: boolean}): string, ...",
                doc: "Waits 30 seconds at most for a plain text in the whole log, or with `pattern` for a Lua \
                      pattern; returns what was found, then the captures.",
                run: expect,
            },
            Method {
                name: "write",
                signature: "(data: string, opts?: {timeout: number|string}): integer",
                doc: "Types into the console as fast as the guest reads, for 10 seconds at most; returns the \
                      bytes typed.",
                run: write,
            },
            Method {
                name: "close",
                signature: "()",
                doc: "Ends the handle; calling it again does nothing.",
                run: |_, console: &Console| {
                    console.close();
                    none()
                },
            },
        ]
    }

    fn describe(&self) -> String {
        format!("Console of VM `{}`", self.0.name())
    }

    fn same(&self, other: &Console) -> bool {
        self.0.is(&other.0)
    }
}

fn write(call: &mut Call<'_>, console: &Console) -> Answer {
    call.at_most(2)?;
    let vm = console.open(call)?.clone();
    let data = call.string(0, "a string to type")?;
    let options = call.options(1)?;
    let limit = options.duration("timeout")?.unwrap_or(WRITE_TIMEOUT);
    options.finish()?;
    let state = vm.core().state();
    let machine = vm.core().machine().filter(|_| state == VmState::Booted);
    let Some(machine) = machine else {
        return Err(call.fail(format_args!("VM `{}` is {state}; it has to be booted", vm.name())));
    };
    let (started, token) = (Instant::now(), call.file().cancel());
    let bytes = data.as_bytes();
    let mut typed = 0;
    while typed < bytes.len() {
        let taken: Result<usize, Raise> = machine
            .console_offer(&bytes[typed..])
            .map_err(|error| call.fail(format_args!("VM `{}`: {error}", vm.name())));
        let taken = taken?;
        typed += taken;
        if taken > 0 {
            continue;
        }
        let left = limit.saturating_sub(started.elapsed());
        if left.is_zero() {
            return Err(call.fail(format_args!(
                "the guest took {typed} of {} bytes within {}s; does anything read its serial console?",
                bytes.len(),
                seconds(limit)
            )));
        }
        if token.sleep(left.min(FULL)).is_some() {
            return Err(call.fail(ending(call.lua(), call.what()).unwrap_or_default()));
        }
    }
    one(call.lua(), typed)
}

/// The console of a VM as a source of bytes, from a position of its log on.
struct ConsoleSource {
    vm: Vm,
    at: Cell<u64>,
}

impl ConsoleSource {
    fn new(vm: &Vm, at: u64) -> ConsoleSource {
        ConsoleSource {
            vm: vm.clone(),
            at: Cell::new(at),
        }
    }
}

impl ByteSource for ConsoleSource {
    fn more(&self, limit: Duration) -> Result<Vec<u8>, String> {
        let machine = self.vm.core().machine();
        let (bytes, at) = match machine {
            Some(machine) => machine.console_since(self.at.get(), limit),
            None => printed(&self.vm, self.at.get()),
        };
        self.at.set(at);
        Ok(bytes)
    }

    fn is_over(&self) -> bool {
        let machine = self.vm.core().machine();
        machine.is_none_or(|machine| machine.ended().is_some())
    }

    fn close(&self) {}

    fn vm(&self) -> String {
        self.vm.name().to_owned()
    }

    fn is_gone(&self) -> bool {
        self.vm.is_closed()
    }

    fn shown(&self) -> String {
        "console".to_owned()
    }
}
