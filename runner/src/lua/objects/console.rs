//! `Console`: a VM's serial console.
//!
//! Input: calls of a test, patterns, bytes. Output: what the guest printed; what matched, and a mark behind
//! it from which the next `expect` and new streams go on; bytes in the port's receive FIFO, as fast as the
//! guest empties it. Not here: interpreting what is printed, bytes stay bytes; echo and line editing, which
//! are the guest's.

use std::cell::Cell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use mlua::{Function, MultiValue, Table, Value};
use provium_guest::VmState;

use crate::lua::api::binding::{Kind, Method};
use crate::lua::api::call::Call;
use crate::lua::api::interrupt::ending;
use crate::lua::api::protect::protected;
use crate::lua::api::raise::{Answer, Raise, none, one};
use crate::lua::api::render;
use crate::lua::api::value::{duration, seconds, text_of};
use crate::lua::objects::stream::handle::{ByteSource, ConsoleStream};
use crate::lua::objects::vm::handle::Vm;

/// Time limit of `expect` where nothing else is said.
const EXPECT_TIMEOUT: Duration = Duration::from_secs(30);
/// Time limit of `write` where nothing else is said.
const WRITE_TIMEOUT: Duration = Duration::from_secs(10);
/// Time between two looks at whether the test is over.
const LOOK: Duration = Duration::from_millis(50);
/// Time that a full FIFO is left alone.
const FULL: Duration = Duration::from_millis(1);
/// Most bytes that a timeout's message shows.
const SHOWN: usize = 200;

/// The method `console` of a VM.
pub(crate) fn vm_methods() -> Vec<Method<Vm>> {
    vec![Method {
        name: "console",
        signature: "(): Console",
        doc: "Its serial console.",
        run: |call, vm| one(call.lua(), Console::new(vm.clone()).into_userdata(call.lua())?),
    }]
}

/// The console of a VM.
#[derive(Clone)]
pub(crate) struct Console(Vm, Rc<Cell<bool>>);

impl Console {
    /// The console of `vm`.
    fn new(vm: Vm) -> Console {
        Console(vm, Rc::default())
    }

    /// The VM of the console, unless that or the handle was closed.
    fn open(&self, call: &Call<'_>) -> Result<&Vm, Raise> {
        self.live(call)?;
        self.0.open(call)?;
        Ok(&self.0)
    }

    /// Refuses a handle that was closed; what a VM has printed outlives the VM.
    fn live(&self, call: &Call<'_>) -> Result<(), Raise> {
        match self.1.get() {
            false => Ok(()),
            true => Err(call.fail(format_args!("this console of VM `{}` is closed", self.0.name()))),
        }
    }

    /// Closes this handle.
    fn close(&self) {
        self.1.set(true);
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
                doc: "A stream of what is printed, from the start or from what `expect` found last.",
                run: |call, console| {
                    call.at_most(0)?;
                    console.open(call)?;
                    let source = Box::new(ConsoleSource::new(&console.0));
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
                signature: "(pattern: string, timeout?: number|string): string, ...",
                doc: "Waits 30 seconds at most for a Lua pattern; returns what matched, then its captures.",
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

fn expect(call: &mut Call<'_>, console: &Console) -> Answer {
    call.at_most(2)?;
    let vm = console.open(call)?.clone();
    let pattern = call.string(0, "a string as pattern")?;
    let limit = match call.arg(1) {
        Value::Nil => EXPECT_TIMEOUT,
        value => duration(value).map_err(|message| call.fail(format_args!("timeout: {message}")))?,
    };
    let find: Function = call.lua().globals().get::<Table>("string")?.get("find")?;
    if vm.core().state() == VmState::Created {
        return Err(call.fail(format_args!("VM `{}` is created; boot it first", vm.name())));
    }
    let (started, token, mut seen) = (Instant::now(), call.file().cancel(), None);
    loop {
        let machine = vm.core().machine();
        let over = machine.as_ref().is_none_or(|machine| machine.ended().is_some());
        let mark = vm.core().console_mark();
        let (text, end) = printed(&vm, mark);
        if seen != Some(end) {
            seen = Some(end);
            let text = call.lua().create_string(&text)?;
            let mut result = protected(call.lua(), &find, (&text, &pattern))?;
            match (result.pop_front(), result.pop_front()) {
                (Some(Value::Boolean(true)), Some(Value::Integer(first))) => {
                    let last = result
                        .pop_front()
                        .and_then(|last| last.as_integer())
                        .unwrap_or(first - 1);
                    return matched(call, &vm, &text.as_bytes(), end, (first, last), result);
                }
                (Some(Value::Boolean(true)), _) => {}
                (_, error) => {
                    let error = text_of(&error.unwrap_or(Value::Nil));
                    return Err(call.fail(format_args!("pattern `{}`: {error}", pattern.to_string_lossy())));
                }
            }
        }
        let left = limit.saturating_sub(started.elapsed());
        if over || left.is_zero() {
            let why = match over {
                true => "the VM ended".to_owned(),
                false => format!("timed out after {}s", seconds(limit)),
            };
            let last = &text[text.len().saturating_sub(SHOWN)..];
            return Err(call.fail(format_args!(
                "{why} waiting for `{}`; the last bytes were {}",
                pattern.to_string_lossy(),
                render::quoted(last)
            )));
        }
        if token.is_cancelled().is_some() {
            return Err(call.fail(ending(call.lua(), call.what()).unwrap_or_default()));
        }
        if let Some(machine) = machine {
            machine.console_since(end, left.min(LOOK));
        }
    }
}

/// The bytes printed from `mark` on, and the position behind them.
fn printed(vm: &Vm, mark: u64) -> (Vec<u8>, u64) {
    let core = vm.core();
    match core.machine() {
        Some(machine) => machine.console_since(mark, Duration::ZERO),
        None => {
            let log = core.console_log();
            let from = usize::try_from(mark).unwrap_or(usize::MAX).min(log.len());
            (log[from..].to_vec(), log.len() as u64)
        }
    }
}

/// Moves the mark behind a match; returns the match and its captures. `place` is as `string.find` says it.
fn matched(
    call: &Call<'_>,
    vm: &Vm,
    text: &[u8],
    end: u64,
    place: (i64, i64),
    captures: MultiValue,
) -> Answer {
    let first = usize::try_from(place.0 - 1).unwrap_or(0).min(text.len());
    let last = usize::try_from(place.1).unwrap_or(0).clamp(first, text.len());
    vm.core().set_console_mark(end - (text.len() - last) as u64);
    let mut values = captures;
    values.push_front(Value::String(call.lua().create_string(&text[first..last])?));
    Ok(values)
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

/// The console of a VM as a source of bytes, from the console's mark on.
struct ConsoleSource {
    vm: Vm,
    at: Cell<u64>,
}

impl ConsoleSource {
    fn new(vm: &Vm) -> ConsoleSource {
        ConsoleSource {
            vm: vm.clone(),
            at: Cell::new(vm.core().console_mark()),
        }
    }
}

impl ByteSource for ConsoleSource {
    fn more(&self, limit: Duration) -> Result<Vec<u8>, String> {
        let machine = self.vm.core().machine();
        let (bytes, at) = match machine {
            Some(machine) => machine.console_since(self.at.get(), limit),
            // What is left of a machine that has ended.
            None => {
                let log = self.vm.core().console_log();
                let from = usize::try_from(self.at.get())
                    .unwrap_or(usize::MAX)
                    .min(log.len());
                (log[from..].to_vec(), log.len() as u64)
            }
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
