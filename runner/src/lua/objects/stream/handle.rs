//! Streams: bytes of a guest as they come.
//!
//! Input: a [`ByteSource`]: a console, a file that grows, a descriptor, a program's output. Output: bytes, in
//! order and each once; what lies behind a match is left for the next call. Waits end with the test. Not
//! here: polling of the guest, and where the bytes come from; each source knows that.

use std::cell::{Cell, RefCell};
use std::marker::PhantomData;
use std::rc::{Rc, Weak};
use std::time::{Duration, Instant};

use memchr::memmem::Finder;
use mlua::Value;

use crate::lua::api::binding::{Kind, Listed, Method};
use crate::lua::api::call::Call;
use crate::lua::api::interrupt::ending;
use crate::lua::api::location::{self, Place};
use crate::lua::api::raise::{Answer, Raise, none, one};
use crate::lua::api::render;
use crate::lua::api::value::duration;
use crate::lua::state::scope::{Held, Opened, OpenedSort};

/// Time limit of a wait where nothing else is said.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Time without bytes that ends `drain`.
const DRAIN: Duration = Duration::from_millis(500);
/// Time between two looks at whether the test is over.
const LOOK: Duration = Duration::from_millis(50);
/// Most bytes that a timeout's message shows.
const SHOWN: usize = 200;
/// Bytes handed out after which the rest is moved to the front.
const SPENT: usize = 1 << 20;

/// Source of a stream's bytes.
pub(crate) trait ByteSource {
    /// Reads the bytes that come within `limit`; none when nothing came.
    fn more(&self, limit: Duration) -> Result<Vec<u8>, String>;

    /// Whether no more can come than what is there already.
    fn is_over(&self) -> bool;

    /// Closes the source.
    fn close(&self);

    /// Name of its VM.
    fn vm(&self) -> String;

    /// Whether its VM or worker has been closed.
    fn is_gone(&self) -> bool;

    /// Name of the source in messages: "proc_stdout_stream of process 7".
    fn shown(&self) -> String;
}

/// The name of a kind of stream.
pub(crate) trait StreamName: 'static {
    /// Name of the kind in messages.
    const NAME: &'static str;
}

/// Name of streams of a console.
pub(crate) struct OfConsole;
/// Name of streams of a file, a descriptor or a program's output.
pub(crate) struct OfAgent;

impl StreamName for OfConsole {
    const NAME: &'static str = "ConsoleStream";
}

impl StreamName for OfAgent {
    const NAME: &'static str = "Tail";
}

/// A stream of a console.
pub(crate) type ConsoleStream = Stream<OfConsole>;
/// A stream of a file, a descriptor or a program's output.
pub(crate) type Tail = Stream<OfAgent>;

/// A stream as Lua has it.
pub(crate) struct Stream<N: StreamName>(Rc<OpenStream>, PhantomData<N>);

impl<N: StreamName> Clone for Stream<N> {
    fn clone(&self) -> Self {
        Stream(Rc::clone(&self.0), PhantomData)
    }
}

/// The state of a stream, whatever its name.
struct OpenStream {
    source: Box<dyn ByteSource>,
    site: Option<Place>,
    unread: RefCell<Unread>,
    closed: Cell<bool>,
}

/// Bytes that have come and were not handed out.
#[derive(Default)]
struct Unread {
    bytes: Vec<u8>,
    spent: usize,
}

impl Unread {
    fn rest(&self) -> &[u8] {
        &self.bytes[self.spent..]
    }

    fn take(&mut self, len: usize) -> Vec<u8> {
        let taken = self.rest()[..len].to_vec();
        self.spent += len;
        if self.spent == self.bytes.len() {
            self.bytes.clear();
            self.spent = 0;
        } else if self.spent > SPENT && self.spent > self.bytes.len() / 2 {
            self.bytes.drain(..self.spent);
            self.spent = 0;
        }
        taken
    }
}

impl Held for OpenStream {
    fn close(&self) {
        if !self.closed.replace(true) {
            self.unread.take();
            self.source.close();
        }
    }

    fn opened(&self) -> Option<Opened> {
        let open = !self.closed.get() && !self.source.is_gone();
        open.then(|| Opened {
            sort: OpenedSort::Stream,
            vm: self.source.vm(),
            what: format!("a stream ({})", self.source.shown()),
            site: location::shown_place(self.site.as_ref()),
        })
    }
}

impl OpenStream {
    /// Takes what comes within `limit`; false when nothing came.
    fn more(&self, call: &Call<'_>, limit: Duration) -> Result<bool, Raise> {
        let bytes = self.source.more(limit).map_err(|message| {
            let what = self.source.shown();
            call.fail(format_args!("the stream ({what}) broke: {message}"))
        })?;
        self.unread.borrow_mut().bytes.extend_from_slice(&bytes);
        Ok(!bytes.is_empty())
    }

    /// Waits until `done` finds what it looks for in the unread bytes, and takes that many; `None` when time
    /// is up or nothing more can come, as of a stream that was closed.
    fn wait(
        &self,
        call: &Call<'_>,
        limit: Duration,
        mut done: impl FnMut(&[u8]) -> Option<usize>,
    ) -> Result<Option<Vec<u8>>, Raise> {
        if self.closed.get() {
            return Ok(None);
        }
        let (started, token) = (Instant::now(), call.file().cancel());
        loop {
            let found = done(self.unread.borrow().rest());
            if let Some(len) = found {
                return Ok(Some(self.unread.borrow_mut().take(len)));
            }
            if token.is_cancelled().is_some() {
                let reason = ending(call.lua(), call.what()).unwrap_or_default();
                return Err(call.fail(reason));
            }
            // In this order: what came before the end is there when the end is seen.
            let over = self.source.is_over();
            if self.more(call, Duration::ZERO)? {
                continue;
            }
            let left = limit.saturating_sub(started.elapsed());
            if over || left.is_zero() {
                return Ok(None);
            }
            self.more(call, left.min(LOOK))?;
        }
    }

    /// Whether everything was handed out and no more can come; so it is of a stream that was closed.
    fn eof(&self, call: &Call<'_>) -> Result<bool, Raise> {
        if self.closed.get() {
            return Ok(true);
        }
        let over = self.source.is_over();
        while self.unread.borrow().rest().is_empty() && self.more(call, Duration::ZERO)? {}
        let over = over || self.source.is_over();
        Ok(over && self.unread.borrow().rest().is_empty())
    }
}

impl<N: StreamName> Stream<N> {
    /// Opens a stream, which the innermost scope closes.
    pub(crate) fn open(call: &Call<'_>, source: Box<dyn ByteSource>) -> Stream<N> {
        let shared = Rc::new(OpenStream {
            source,
            site: location::caller(call.lua()),
            unread: RefCell::default(),
            closed: Cell::new(false),
        });
        call.file().scopes.own(Rc::clone(&shared) as Rc<dyn Held>);
        Stream(shared, PhantomData)
    }

    /// A reference for whoever has to close it.
    pub(crate) fn weak(&self) -> Weak<dyn Held> {
        let weak: Weak<OpenStream> = Rc::downgrade(&self.0);
        weak
    }
}

fn limit(call: &Call<'_>, at: usize, default: Duration) -> Result<Duration, Raise> {
    match call.arg(at) {
        Value::Nil => Ok(default),
        value => duration(value).map_err(|message| call.fail(format_args!("timeout: {message}"))),
    }
}

impl<N: StreamName> Kind for Stream<N>
where
    Stream<N>: Listed,
{
    const NAME: &'static str = N::NAME;
    const PREFIX: &'static str = "stream";

    fn methods() -> Vec<Method<Stream<N>>> {
        vec![
            Method {
                name: "next",
                signature: "(timeout?: number|string): string?",
                doc: "The next bytes; nil when none come within 10 seconds, or no more can come, as once it is closed.",
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
                doc: "Ends the stream, which is at its end from then on; calling it again does nothing.",
                run: |_, stream| {
                    stream.0.close();
                    none()
                },
            },
            Method {
                name: "eof",
                signature: "(): boolean",
                doc: "Whether everything was read and no more can come.",
                run: |call, stream| {
                    call.at_most(0)?;
                    let eof = stream.0.eof(call)?;
                    one(call.lua(), eof)
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
        let vm = self.0.source.vm();
        format!("{} of VM `{vm}` ({})", N::NAME, self.0.source.shown())
    }

    fn same(&self, other: &Stream<N>) -> bool {
        Rc::ptr_eq(&self.0, &other.0)
    }
}

fn next<N: StreamName>(call: &mut Call<'_>, stream: &Stream<N>) -> Answer {
    call.at_most(1)?;
    let limit = limit(call, 0, TIMEOUT)?;
    let bytes = stream
        .0
        .wait(call, limit, |unread| (!unread.is_empty()).then_some(unread.len()))?;
    match bytes {
        Some(bytes) => one(call.lua(), call.lua().create_string(bytes)?),
        None => one(call.lua(), Value::Nil),
    }
}

fn read_until<N: StreamName>(call: &mut Call<'_>, stream: &Stream<N>) -> Answer {
    call.at_most(2)?;
    let wanted = call.string(0, "a string to wait for")?;
    let limit = limit(call, 1, TIMEOUT)?;
    let plain = wanted.as_bytes().to_vec();
    let finder = Finder::new(&plain);
    // What was looked through stays looked through, but for the beginning of a match at its end.
    let mut looked = 0;
    let end = |unread: &[u8]| {
        let found = finder.find(&unread[looked..]).map(|at| looked + at + plain.len());
        looked = unread.len().saturating_sub(plain.len().saturating_sub(1));
        found
    };
    if let Some(bytes) = stream.0.wait(call, limit, end)? {
        return one(call.lua(), call.lua().create_string(bytes)?);
    }
    let name = call.what().rsplit(':').next().unwrap_or_default().to_owned();
    let wanted = wanted.to_string_lossy();
    if stream.0.closed.get() {
        return Err(call.fail(format_args!("the stream is closed, so `{wanted}` cannot come")));
    }
    let over = stream.0.source.is_over();
    let unread = stream.0.unread.borrow();
    let last = &unread.rest()[unread.rest().len().saturating_sub(SHOWN)..];
    let last = render::value(&Value::String(call.lua().create_string(last)?));
    Err(call.fail(match over {
        true => {
            format!("the stream ended while {name} was waiting for `{wanted}`; the last bytes were {last}")
        }
        false => format!("{name} timed out waiting for `{wanted}`; the last bytes were {last}"),
    }))
}

fn drain<N: StreamName>(call: &mut Call<'_>, stream: &Stream<N>) -> Answer {
    call.at_most(1)?;
    let limit = limit(call, 0, DRAIN)?;
    let table = call.lua().create_table()?;
    while let Some(bytes) = stream
        .0
        .wait(call, limit, |unread| (!unread.is_empty()).then_some(unread.len()))?
    {
        table.raw_push(call.lua().create_string(bytes)?)?;
    }
    one(call.lua(), table)
}
