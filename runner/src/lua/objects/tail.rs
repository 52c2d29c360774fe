//! `Tail`: a file that grows, a descriptor, or a program's output, as it comes.
//!
//! Enters: a stream of the agent's, or the captured output of a process. Leaves: its bytes, as a [`Source`]. A stream of
//! a file is read when the test reads, so that what nobody reads stays in the guest; a program's output is taken in by
//! a thread at once, so that the program never waits for the test.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use mlua::Value;
use provium_protocol::{Follow, FollowStart};

use crate::guest::{Came, Following};
use crate::lua::api::binding::{Kind, this, type_name};
use crate::lua::api::call::{Answer, Call, Raise, integer, one};
use crate::lua::objects::agent::Made;
use crate::lua::objects::capture::{Capture, Feeder};
use crate::lua::objects::open_file::OpenedFile;
use crate::lua::objects::remote::Remote;
use crate::lua::objects::stream::{Source, Tail};

/// A stream that the agent brings.
struct Followed {
    made: Made,
    stream: RefCell<Option<Following>>,
    over: Cell<bool>,
    shown: String,
}

impl Source for Followed {
    fn more(&self, limit: Duration) -> Result<Vec<u8>, String> {
        let mut stream = self.stream.borrow_mut();
        let Some(following) = stream.as_mut().filter(|_| !self.over.get()) else {
            return Ok(Vec::new());
        };
        match following.read(Some(limit)) {
            Ok(Came::Bytes(bytes)) => Ok(bytes),
            Ok(Came::Nothing) => Ok(Vec::new()),
            Ok(Came::End) => {
                self.over.set(true);
                Ok(Vec::new())
            }
            Err(error) => {
                self.over.set(true);
                Err(error.to_string())
            }
        }
    }

    fn is_over(&self) -> bool {
        self.over.get()
    }

    fn close(&self) {
        self.stream.take();
    }

    fn vm(&self) -> String {
        self.made.agent().vm()
    }

    fn is_gone(&self) -> bool {
        !self.made.is_there()
    }

    fn shown(&self) -> String {
        self.shown.clone()
    }
}

/// A program's captured output.
struct Captured {
    made: Made,
    capture: RefCell<Arc<Capture>>,
    which: usize,
    at: Cell<u64>,
    feeder: RefCell<Option<Rc<Feeder>>>,
    /// Told when the feeder was let go.
    closed: Box<dyn Fn()>,
    shown: String,
}

impl Source for Captured {
    fn more(&self, limit: Duration) -> Result<Vec<u8>, String> {
        let bytes = self.capture.borrow().since(self.which, self.at.get(), limit)?;
        self.at.set(self.at.get() + bytes.len() as u64);
        Ok(bytes)
    }

    fn is_over(&self) -> bool {
        self.capture.borrow().is_over(self.which)
    }

    fn close(&self) {
        self.feeder.take();
        (self.closed)();
    }

    fn vm(&self) -> String {
        self.made.agent().vm()
    }

    fn is_gone(&self) -> bool {
        !self.made.is_there()
    }

    fn shown(&self) -> String {
        self.shown.clone()
    }
}

/// A stream of a program's output, from its first byte on; `feeder` brings what is not captured yet.
pub(crate) fn of_output(
    call: &Call<'_>,
    made: Made,
    capture: &Arc<Capture>,
    which: usize,
    feeder: Option<Rc<Feeder>>,
    shown: String,
    closed: Box<dyn Fn()>,
) -> Tail {
    let agent = Rc::clone(made.agent());
    let tail = Tail::open(
        call,
        Box::new(Captured {
            made,
            capture: RefCell::new(Arc::clone(capture)),
            which,
            at: Cell::new(0),
            feeder: RefCell::new(feeder),
            closed,
            shown,
        }),
    );
    agent.outlives(tail.weak());
    tail
}

/// Opens a stream that the agent brings.
fn follow(call: &Call<'_>, made: Made, what: Follow, shown: String) -> Answer {
    made.check(call)?;
    let session = made.agent().session(call)?;
    let vm = made.agent().shown();
    let stream = session
        .follow(what)
        .map_err(|error| call.fail(format_args!("{vm}: {error}")))?;
    let agent = Rc::clone(made.agent());
    let tail = Tail::open(
        call,
        Box::new(Followed {
            made,
            stream: RefCell::new(Some(stream)),
            over: Cell::new(false),
            shown,
        }),
    );
    agent.outlives(tail.weak());
    one(call.lua(), tail.into_userdata(call.lua())?)
}

/// `tail_file(path, {start=})`.
pub(crate) fn tail_file<T: Remote>(call: &mut Call<'_>, remote: &T) -> Answer {
    call.at_most(2)?;
    let path = call.path(0)?;
    let options = call.options(1)?;
    let start = match options.value("start")? {
        Value::Nil => FollowStart::End,
        Value::String(text) if text.as_bytes() == b"end" => FollowStart::End,
        Value::String(text) if matches!(&*text.as_bytes(), b"beginning" | b"start") => FollowStart::Offset(0),
        Value::String(text) => {
            let text = text.to_string_lossy();
            let message = format!("expected \"end\", \"beginning\", \"start\" or an offset, got {text:?}");
            return Err(options.fail("start", message));
        }
        value @ (Value::Integer(_) | Value::Number(_)) => {
            FollowStart::Offset(integer(&value).map_err(|message| options.fail("start", message))?)
        }
        other => {
            let message = format!(
                "expected \"end\", \"beginning\", \"start\" or an offset, got {}",
                type_name(&other)
            );
            return Err(options.fail("start", message));
        }
    };
    options.finish()?;
    let shown = format!("tail_file of {}", String::from_utf8_lossy(&path));
    let path = path.into();
    let made = Made::now(call, remote.agent());
    follow(call, made, Follow::File { path, start }, shown)
}

/// `fd_stream(fd or File)`.
pub(crate) fn fd_stream<T: Remote>(call: &mut Call<'_>, remote: &T) -> Answer {
    call.at_most(1)?;
    if let Some(file) = this::<OpenedFile>(call.arg(0)) {
        return of_file(call, &file);
    }
    let fd = descriptor(call, 0)?;
    let made = Made::now(call, remote.agent());
    follow(
        call,
        made,
        Follow::Fd { fd },
        format!("fd_stream of descriptor {fd}"),
    )
}

/// A stream of what can be read from an open file.
pub(crate) fn of_file(call: &Call<'_>, file: &OpenedFile) -> Answer {
    let fd = file.open_fd(call)?;
    let made = Made::now(call, Rc::clone(file.agent()));
    follow(
        call,
        made,
        Follow::Fd { fd },
        format!("tail_stream of {}", file.path()),
    )
}

/// A descriptor: an integer, or an open file.
pub(crate) fn descriptor(call: &Call<'_>, at: usize) -> Result<i32, Raise> {
    if let Some(file) = this::<OpenedFile>(call.arg(at)) {
        return file.open_fd(call);
    }
    let expected = "a descriptor (an integer or a File)";
    match call.arg(at) {
        value @ (Value::Integer(_) | Value::Number(_)) => {
            let number =
                integer(value).map_err(|message| call.fail(format_args!("the descriptor: {message}")))?;
            i32::try_from(number).map_err(|_| call.fail(format_args!("{number} is no descriptor")))
        }
        other => Err(call.wrong(expected, other)),
    }
}
