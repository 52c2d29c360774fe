//! Talking with a guest over its serial console: `expect`, `write` and `close`.
//!
//! Enters: patterns, bytes. Leaves: what matched, and a mark behind it from which the next `expect` and new streams go on;
//! bytes in the port's receive FIFO, as fast as the guest empties it. Absent on purpose: echo and line editing, which are
//! the guest's.

use std::time::{Duration, Instant};

use mlua::{Function, MultiValue, Table, Value};

use crate::guest::VmState;
use crate::lua::api::binding::Method;
use crate::lua::api::call::{Answer, Call, Raise, duration, one, text_of};
use crate::lua::api::interrupt::{ending, seconds};
use crate::lua::api::render;
use crate::lua::objects::console::Console;
use crate::lua::objects::vm::Vm;
use crate::lua::test::test_run::protected;

const EXPECT_TIMEOUT: Duration = Duration::from_secs(30);
const WRITE_TIMEOUT: Duration = Duration::from_secs(10);
/// How often a wait looks at whether the test is over.
const LOOK: Duration = Duration::from_millis(50);
/// How long a full FIFO is left alone.
const FULL: Duration = Duration::from_millis(1);
/// Bytes that a timeout's message shows.
const SHOWN: usize = 200;

pub(crate) fn methods() -> Vec<Method<Console>> {
    vec![
        Method {
            name: "expect",
            signature: "(pattern: string, timeout?: number|string): string, ...",
            doc: "Waits 30 seconds at most for a Lua pattern; returns what matched, then its captures.",
            run: expect,
        },
        Method {
            name: "write",
            signature: "(data: string, opts?: {timeout: number|string}): integer",
            doc: "Types into the console as fast as the guest reads, for 10 seconds at most; returns the bytes typed.",
            run: write,
        },
        Method {
            name: "close",
            signature: "()",
            doc: "Ends the handle; calling it again does nothing.",
            run: |_, console| {
                console.close();
                Ok(MultiValue::new())
            },
        },
    ]
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
    if vm.core().borrow_mut().state() == VmState::Created {
        return Err(call.fail(format_args!("VM `{}` is created; boot it first", vm.name())));
    }
    let (started, token, mut seen) = (Instant::now(), call.file().cancel(), None);
    loop {
        let machine = vm.core().borrow().machine();
        let over = machine.as_ref().is_none_or(|machine| machine.ended().is_some());
        let mark = vm.console_mark().get();
        let (text, end) = printed(&vm, mark);
        if seen != Some(end) {
            seen = Some(end);
            let text = call.lua().create_string(&text)?;
            let mut result = protected(call.lua(), &find.bind((&text, &pattern))?)?;
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

/// What was printed from `mark` on, and the position behind it.
fn printed(vm: &Vm, mark: u64) -> (Vec<u8>, u64) {
    let core = vm.core().borrow();
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
    vm.console_mark().set(end - (text.len() - last) as u64);
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
    let state = vm.core().borrow_mut().state();
    let machine = vm.core().borrow().machine().filter(|_| state == VmState::Booted);
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
