//! `console:expect`: waits for a text, or a Lua pattern, in what a VM has printed since its boot.
//!
//! Input: a text and what the VM prints. Output: what was found. Each handle looks through the whole log, and
//! for the same text goes on behind where it found it last, so that texts are found in any order and no
//! handle takes another's. Not here: the bytes' way out of the guest.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use memchr::memmem::{Finder, find};
use mlua::{Function, LuaString, MultiValue, Table, Value};
use provium_guest::VmState;

use super::handle::{Console, LOOK};
use crate::lua::api::call::Call;
use crate::lua::api::interrupt::ending;
use crate::lua::api::protect::protected;
use crate::lua::api::raise::{Answer, Raise};
use crate::lua::api::render;
use crate::lua::api::value::{duration, seconds, text_of};
use crate::lua::objects::vm::handle::Vm;

/// Time limit where nothing else is said.
const TIMEOUT: Duration = Duration::from_secs(30);
/// Most bytes that a timeout's message shows.
const SHOWN: usize = 200;

/// The text that a call looks for.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Wanted {
    text: Vec<u8>,
    /// Whether it is a Lua pattern.
    pattern: bool,
}

/// Range of a match in the bytes that were looked through, and its captures.
type Match = ((usize, usize), MultiValue);

/// Positions behind what a handle has found, all in one log.
#[derive(Default)]
pub(super) struct Marks {
    /// Number of the log, as the VM counts them.
    log: u64,
    behind: HashMap<Wanted, u64>,
    last: u64,
}

impl Marks {
    /// Forgets what was found in another log than this.
    fn enter(&mut self, log: u64) {
        if self.log != log {
            *self = Marks {
                log,
                ..Marks::default()
            };
        }
    }

    /// Position behind what was found last of all in this log; its start when nothing was.
    pub(super) fn last(&mut self, log: u64) -> u64 {
        self.enter(log);
        self.last
    }

    fn found(&mut self, wanted: Wanted, behind: u64) {
        self.behind.insert(wanted, behind);
        self.last = behind;
    }
}

/// The bytes of a log from a position on, as they come.
struct LogTail {
    bytes: Vec<u8>,
    /// Position behind the bytes.
    end: u64,
    /// Number of bytes that hold no beginning of a match of a plain text.
    looked: usize,
}

impl LogTail {
    /// Adds what was printed, up to position `end`. After a gap, since a log has a largest size, it begins
    /// anew.
    fn push(&mut self, printed: &[u8], end: u64) {
        if self.end + printed.len() as u64 != end {
            self.bytes.clear();
            self.looked = 0;
        }
        self.bytes.extend_from_slice(printed);
        self.end = end;
    }

    /// Range of the first match of a plain text in bytes that were not looked through before.
    fn find(&mut self, text: &Finder<'_>) -> Option<(usize, usize)> {
        let length = text.needle().len();
        let found = text.find(&self.bytes[self.looked..]).map(|at| self.looked + at);
        self.looked = self.bytes.len().saturating_sub(length.saturating_sub(1));
        found.map(|at| (at, at + length))
    }

    /// Position in the log of a place in the bytes.
    fn position(&self, at: usize) -> u64 {
        self.end.saturating_sub((self.bytes.len() - at) as u64)
    }
}

/// `expect(text, timeout?, opts?)`.
pub(super) fn expect(call: &mut Call<'_>, console: &Console) -> Answer {
    let vm = console.open(call)?.clone();
    let (wanted, limit) = arguments(call)?;
    if vm.core().state() == VmState::Created {
        return Err(call.fail(format_args!(
            "VM `{}` was not booted yet (state `created`): call vm:boot() first",
            vm.name()
        )));
    }
    let mark = {
        let mut marks = console.marks().borrow_mut();
        marks.enter(vm.core().log_number());
        marks.behind.get(&wanted).copied()
    };
    let plain = wanted.text.clone();
    let finder = Finder::new(&plain);
    let (started, token) = (Instant::now(), call.file().cancel());
    let mut log = LogTail {
        bytes: Vec::new(),
        end: mark.unwrap_or(0),
        looked: 0,
    };
    let mut first = true;
    loop {
        let machine = vm.core().machine();
        let over = machine.as_ref().is_none_or(|machine| machine.ended().is_some());
        let (printed, end) = printed(&vm, log.end);
        if std::mem::take(&mut first) || !printed.is_empty() {
            log.push(&printed, end);
            let found = match wanted.pattern {
                false => log.find(&finder).map(|range| (range, MultiValue::new())),
                true => find_pattern(call, &log.bytes, &wanted.text)?,
            };
            if let Some(((start, stop), mut values)) = found {
                values.push_front(Value::String(call.lua().create_string(&log.bytes[start..stop])?));
                let behind = log.position(stop);
                console.marks().borrow_mut().found(wanted, behind);
                return Ok(values);
            }
        }
        let left = limit.saturating_sub(started.elapsed());
        if over || left.is_zero() {
            let why = match over {
                true => "the VM ended".to_owned(),
                false => format!("timed out after {}s", seconds(limit)),
            };
            let last = &log.bytes[log.bytes.len().saturating_sub(SHOWN)..];
            return Err(call.fail(format_args!(
                "{why} waiting for `{}`; the last bytes were {}{}{}",
                String::from_utf8_lossy(&wanted.text),
                render::quoted(last),
                mark.map_or("", |_| "; it was found before, and this waits for the next one"),
                other_reading(call, &wanted, last).unwrap_or_default(),
            )));
        }
        if token.is_cancelled().is_some() {
            return Err(call.fail(ending(call.lua(), call.what()).unwrap_or_default()));
        }
        if let Some(machine) = machine {
            machine.console_since(log.end, left.min(LOOK));
        }
    }
}

/// The text and the time limit. The options may stand in the limit's place and have it.
fn arguments(call: &Call<'_>) -> Result<(Wanted, Duration), Raise> {
    let text = call.string(0, "a string to wait for")?.as_bytes().to_vec();
    let (limit, options) = match call.arg(1) {
        Value::Table(_) => {
            call.at_most(2)?;
            (None, call.options(1)?)
        }
        limit => {
            call.at_most(3)?;
            (Some(limit).filter(|limit| !limit.is_nil()), call.options(2)?)
        }
    };
    let limit =
        limit.map(|limit| duration(limit).map_err(|message| call.fail(format_args!("timeout: {message}"))));
    let limit = limit.transpose()?;
    let pattern = options.boolean("pattern")?.unwrap_or(false);
    let limit = match (limit, options.duration("timeout")?) {
        (Some(_), Some(_)) => return Err(options.fail("timeout", "it is given before the options already")),
        (limit, option) => limit.or(option).unwrap_or(TIMEOUT),
    };
    options.finish()?;
    Ok((Wanted { text, pattern }, limit))
}

/// Range in the bytes of what `string.find` finds, and its captures.
fn find_pattern(call: &Call<'_>, bytes: &[u8], pattern: &[u8]) -> Result<Option<Match>, Raise> {
    let find: Function = call.lua().globals().get::<Table>("string")?.get("find")?;
    let lua_string = |bytes: &[u8]| -> mlua::Result<LuaString> { call.lua().create_string(bytes) };
    let mut result = protected(call.lua(), &find, (lua_string(bytes)?, lua_string(pattern)?))?;
    match (result.pop_front(), result.pop_front()) {
        (Some(Value::Boolean(true)), Some(Value::Integer(first))) => {
            let last = result.pop_front().and_then(|last| last.as_integer());
            let start = usize::try_from(first - 1).unwrap_or(0).min(bytes.len());
            let stop = last.and_then(|last| usize::try_from(last).ok()).unwrap_or(start);
            Ok(Some(((start, stop.clamp(start, bytes.len())), result)))
        }
        (Some(Value::Boolean(true)), _) => Ok(None),
        (_, error) => {
            let error = text_of(&error.unwrap_or(Value::Nil));
            let pattern = String::from_utf8_lossy(pattern);
            Err(call.fail(format_args!("pattern `{pattern}`: {error}")))
        }
    }
}

/// A word on the bytes that a timeout shows, where the text is in there when read the other way.
fn other_reading(call: &Call<'_>, wanted: &Wanted, shown: &[u8]) -> Option<String> {
    if wanted.pattern {
        let there = !wanted.text.is_empty() && find(shown, &wanted.text).is_some();
        return there
            .then(|| "; they hold it as plain text, which is found without `pattern = true`".to_owned());
    }
    // A text that is no valid pattern matches nothing.
    let ((start, stop), _) = find_pattern(call, shown, &wanted.text).ok()??;
    let matched = render::quoted(&shown[start..stop]);
    (start < stop)
        .then(|| format!("; as a Lua pattern, with {{pattern = true}}, it matches {matched} in them"))
}

/// The bytes printed from position `from` on, and the position behind them.
pub(super) fn printed(vm: &Vm, from: u64) -> (Vec<u8>, u64) {
    let core = vm.core();
    match core.machine() {
        Some(machine) => machine.console_since(from, Duration::ZERO),
        // What is left of a machine that has ended.
        None => {
            let log = core.console_log();
            let from = usize::try_from(from).unwrap_or(usize::MAX).min(log.len());
            (log[from..].to_vec(), log.len() as u64)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tail() -> LogTail {
        LogTail {
            bytes: Vec::new(),
            end: 0,
            looked: 0,
        }
    }

    #[test]
    fn a_text_that_comes_in_pieces_is_found_once_it_is_whole() {
        let (mut log, text) = (tail(), Finder::new("ready"));
        log.push(b"rea", 3);
        assert_eq!(log.find(&text), None);
        log.push(b"d", 4);
        assert_eq!(log.find(&text), None);
        log.push(b"y ready", 11);
        let found = log.find(&text).expect("it is there");
        assert_eq!((found, log.position(found.1)), ((0, 5), 5));
    }

    #[test]
    fn a_log_that_dropped_bytes_is_not_joined_over_the_gap() {
        let (mut log, text) = (tail(), Finder::new("ready"));
        log.push(b"rea", 3);
        assert_eq!(log.find(&text), None);
        log.push(b"dy ready", 108);
        let found = log.find(&text).expect("it is there");
        assert_eq!((found, log.position(found.1)), ((3, 8), 108));
    }

    #[test]
    fn marks_are_per_text_and_end_with_their_log() {
        let wanted = |text: &str, pattern| Wanted {
            text: text.into(),
            pattern,
        };
        let mut marks = Marks::default();
        marks.enter(1);
        marks.found(wanted("two", false), 30);
        marks.found(wanted("one", false), 10);
        assert_eq!(marks.last(1), 10);
        assert_eq!(marks.behind.get(&wanted("two", false)), Some(&30));
        assert_eq!(marks.behind.get(&wanted("two", true)), None);
        assert_eq!(marks.last(2), 0);
        assert!(marks.behind.is_empty());
    }
}
