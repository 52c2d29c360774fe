//! `ConsoleStream`: what a VM's console prints, as it is printed.
//!
//! Enters: a console and where to start. Leaves: bytes, in order and each once; what lies behind a match is kept for
//! the next call. Waits end with the test. Absent on purpose: polling of the guest; the console is the monitor's own.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::{Duration, Instant};

use mlua::Value;

use super::binding::{Kind, Method};
use super::call::{Answer, Call, Raise, duration, none, one};
use super::file::OpenStream;
use super::interrupt::{ending, seconds};
use super::location::{self, Place};
use super::render;
use super::vm::Vm;

const TIMEOUT: Duration = Duration::from_secs(10);
const DRAIN: Duration = Duration::from_millis(500);
/// How often a wait looks at whether the test is over.
const LOOK: Duration = Duration::from_millis(50);
/// Bytes that a timeout's message shows.
const SHOWN: usize = 200;

/// A stream of a console.
#[derive(Clone)]
pub(crate) struct ConsoleStream(Rc<Shared>);

pub(crate) struct Shared {
    vm: Vm,
    site: Option<Place>,
    at: Cell<u64>,
    /// What has come and was not handed out.
    kept: RefCell<Vec<u8>>,
    closed: Cell<bool>,
}

impl OpenStream for Shared {
    fn open_at(&self) -> Option<String> {
        let open = !self.closed.get() && !self.vm.is_closed();
        open.then(|| {
            self.site
                .as_ref()
                .map_or_else(|| "an unknown place".to_owned(), Place::to_string)
        })
    }

    fn vm(&self) -> String {
        self.vm.name().to_owned()
    }
}

impl ConsoleStream {
    /// Opens a stream from the console's first byte on.
    pub(crate) fn open(call: &Call<'_>, vm: &Vm) -> ConsoleStream {
        let shared = Rc::new(Shared {
            vm: vm.clone(),
            site: location::caller(call.lua()),
            at: Cell::new(vm.console_mark().get()),
            kept: RefCell::default(),
            closed: Cell::new(false),
        });
        let weak = Rc::downgrade(&shared);
        call.file().streams.borrow_mut().push(weak);
        ConsoleStream(shared)
    }

    /// Takes what comes within `limit`; false when nothing came.
    fn more(&self, limit: Duration) -> bool {
        let machine = self.0.vm.core().borrow().machine();
        let (bytes, at) = match machine {
            Some(machine) => machine.console_since(self.0.at.get(), limit),
            // What is left of a machine that has ended.
            None => {
                let log = self.0.vm.core().borrow().console_log();
                let from = usize::try_from(self.0.at.get())
                    .unwrap_or(usize::MAX)
                    .min(log.len());
                (log[from..].to_vec(), log.len() as u64)
            }
        };
        self.0.at.set(at);
        let came = !bytes.is_empty();
        self.0.kept.borrow_mut().extend(bytes);
        came
    }

    /// Whether nothing more can come.
    fn is_over(&self) -> bool {
        let machine = self.0.vm.core().borrow().machine();
        machine.is_none_or(|machine| machine.ended().is_some())
    }

    /// Waits until `done` finds what it looks for in what was kept, and takes that much; `None` when time is up or
    /// nothing more can come.
    fn wait(
        &self,
        call: &Call<'_>,
        limit: Duration,
        done: impl Fn(&[u8]) -> Option<usize>,
    ) -> Result<Option<Vec<u8>>, Raise> {
        if self.0.closed.get() {
            return Err(call.fail("the stream is closed"));
        }
        let (started, token) = (Instant::now(), call.file().cancel());
        loop {
            let over = self.is_over();
            self.more(Duration::ZERO);
            let found = done(&self.0.kept.borrow());
            if let Some(len) = found {
                return Ok(Some(self.0.kept.borrow_mut().drain(..len).collect()));
            }
            let left = limit.saturating_sub(started.elapsed());
            if over || left.is_zero() {
                return Ok(None);
            }
            if token.is_cancelled().is_some() {
                let reason = ending(call.lua(), call.what()).unwrap_or_default();
                return Err(call.fail(reason));
            }
            self.more(left.min(LOOK));
        }
    }
}

fn limit(call: &Call<'_>, at: usize, default: Duration) -> Result<Duration, Raise> {
    match call.arg(at) {
        Value::Nil => Ok(default),
        value => duration(value).map_err(|message| call.fail(format_args!("timeout: {message}"))),
    }
}

impl Kind for ConsoleStream {
    const NAME: &'static str = "ConsoleStream";
    const PREFIX: &'static str = "stream";

    fn methods() -> Vec<Method<ConsoleStream>> {
        vec![
            Method {
                name: "next",
                signature: "(timeout?: number|string): string?",
                doc: "The next bytes; nil when none come within 10 seconds, or no more can come.",
                run: next,
            },
            Method {
                name: "read_until",
                signature: "(plain: string, timeout?: number|string): string",
                doc: "Everything up to and with a text, which is waited for 10 seconds.",
                run: read_until,
            },
            Method {
                name: "expect",
                signature: "(plain: string, timeout?: number|string): string",
                doc: "The same as `read_until`, by its other name.",
                run: read_until,
            },
            Method {
                name: "drain",
                signature: "(timeout?: number|string): string[]",
                doc: "Everything that comes until nothing has come for half a second.",
                run: drain,
            },
            Method {
                name: "close",
                signature: "()",
                doc: "Ends the stream; calling it again does nothing.",
                run: |_, stream| {
                    stream.0.closed.set(true);
                    stream.0.kept.take();
                    none()
                },
            },
            Method {
                name: "eof",
                signature: "(): boolean",
                doc: "Whether everything was read and no more can come.",
                run: |call, stream| {
                    let over = stream.0.closed.get() || stream.is_over();
                    if over && !stream.0.closed.get() {
                        stream.more(Duration::ZERO);
                    }
                    one(call.lua(), over && stream.0.kept.borrow().is_empty())
                },
            },
            Method {
                name: "creation_site",
                signature: "(): {file: string, line: integer}",
                doc: "Where it was opened.",
                run: |call, stream| {
                    let table = call.lua().create_table()?;
                    if let Some(site) = &stream.0.site {
                        table.raw_set("file", site.path.as_str())?;
                        table.raw_set("line", site.line)?;
                    }
                    one(call.lua(), table)
                },
            },
        ]
    }

    fn describe(&self) -> String {
        format!("ConsoleStream of VM `{}`", self.0.vm.name())
    }

    fn same(&self, other: &ConsoleStream) -> bool {
        Rc::ptr_eq(&self.0, &other.0)
    }
}

fn next(call: &mut Call<'_>, stream: &ConsoleStream) -> Answer {
    call.at_most(1)?;
    let limit = limit(call, 0, TIMEOUT)?;
    let bytes = stream.wait(call, limit, |kept| (!kept.is_empty()).then_some(kept.len()))?;
    match bytes {
        Some(bytes) => one(call.lua(), call.lua().create_string(bytes)?),
        None => one(call.lua(), Value::Nil),
    }
}

fn read_until(call: &mut Call<'_>, stream: &ConsoleStream) -> Answer {
    call.at_most(2)?;
    let wanted = call.string(0, "a string to wait for")?;
    let limit = limit(call, 1, TIMEOUT)?;
    let plain = wanted.as_bytes().to_vec();
    let end = |kept: &[u8]| match plain.len() {
        0 => Some(0),
        len => kept
            .windows(len)
            .position(|window| window == plain)
            .map(|at| at + len),
    };
    if let Some(bytes) = stream.wait(call, limit, end)? {
        return one(call.lua(), call.lua().create_string(bytes)?);
    }
    let kept = stream.0.kept.borrow();
    let last = &kept[kept.len().saturating_sub(SHOWN)..];
    let last = call.lua().create_string(last)?;
    let why = match stream.is_over() {
        true => "ended".to_owned(),
        false => format!("timed out after {}s", seconds(limit)),
    };
    Err(call.fail(format_args!(
        "{why} waiting for `{}`; the last bytes were {}",
        wanted.to_string_lossy(),
        render::value(&Value::String(last))
    )))
}

fn drain(call: &mut Call<'_>, stream: &ConsoleStream) -> Answer {
    call.at_most(1)?;
    let limit = limit(call, 0, DRAIN)?;
    let table = call.lua().create_table()?;
    while let Some(bytes) = stream.wait(call, limit, |kept| (!kept.is_empty()).then_some(kept.len()))? {
        table.raw_push(call.lua().create_string(bytes)?)?;
    }
    one(call.lua(), table)
}
