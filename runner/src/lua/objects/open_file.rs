//! `File`: a file of the guest that the agent holds open.
//!
//! Input: a path and a mode, then calls. Output: content and positions. The position is the guest's; nothing
//! is buffered here. Not here: files of the host, which are Lua's own `io`.

use std::cell::Cell;
use std::rc::Rc;

use mlua::Value;
use provium_guest::{Epoch, Follow, OpenFile, Whence, ops};

use crate::lua::api::binding::{Kind, Method};
use crate::lua::api::call::Call;
use crate::lua::api::location::{self, Place};
use crate::lua::api::options::Options;
use crate::lua::api::raise::{Answer, Raise, none, one};
use crate::lua::api::value::integer;
use crate::lua::objects::agent::{Agent, Made, ask};
use crate::lua::objects::files::perm;
use crate::lua::objects::remote::Remote;
use crate::lua::objects::stream::followed::follow;
use crate::lua::state::scope::{Held, Opened, OpenedSort};

/// An open file as Lua has it.
#[derive(Clone)]
pub(crate) struct OpenedFile(Rc<GuestFile>);

/// A file that the agent holds open.
struct GuestFile {
    made: Made,
    fd: i32,
    path: String,
    site: Option<Place>,
    /// Moment in which it was closed: a guest that is reset to an earlier one has the file open again.
    closed: Cell<Option<Epoch>>,
}

impl GuestFile {
    fn is_closed(&self) -> bool {
        self.closed
            .get()
            .is_some_and(|moment| self.made.agent().holds(moment))
    }

    fn note_closed(&self) {
        self.closed.set(Some(self.made.agent().now()));
    }
}

impl OpenedFile {
    /// The file's descriptor in the agent; an error once it is closed.
    pub(crate) fn open_fd(&self, call: &Call<'_>) -> Result<i32, Raise> {
        match self.0.is_closed() {
            true => Err(call.fail("file is closed")),
            false => self.0.made.check(call).map(|()| self.0.fd),
        }
    }

    /// The agent that holds it open.
    fn agent(&self) -> &Rc<dyn Agent> {
        self.0.made.agent()
    }

    /// A stream of what can be read from it.
    pub(crate) fn stream(&self, call: &Call<'_>) -> Answer {
        let fd = self.open_fd(call)?;
        let made = Made::now(call, Rc::clone(self.agent()));
        let shown = format!("tail_stream of {}", self.0.path);
        follow(call, made, Follow::Fd { fd }, shown)
    }
}

impl Held for GuestFile {
    fn close(&self) {
        if !self.is_closed() {
            self.made.settle(|client| client.ask(ops::close_fd(self.fd)));
            self.note_closed();
        }
    }

    fn opened(&self) -> Option<Opened> {
        let open = !self.is_closed() && self.made.is_there();
        open.then(|| Opened {
            sort: OpenedSort::File,
            vm: self.made.agent().vm(),
            what: format!("a file ({})", self.path),
            site: location::shown_place(self.site.as_ref()),
        })
    }
}

/// `open_file(path, {read, write, create, truncate, append, exclusive, perm})`.
pub(crate) fn open_file<T: Remote>(call: &mut Call<'_>, remote: &T) -> Answer {
    call.at_most(2)?;
    let path = call.path(0)?;
    let Value::Table(mode) = call.arg(1) else {
        return Err(call.wrong("a table such as {read = true} as mode", call.arg(1)));
    };
    let options = Options::new(call.lua(), call.what(), mode.clone())?;
    let flag = |key: &'static str| options.boolean(key).map(|flag| flag.unwrap_or(false));
    let open = OpenFile {
        path: path.clone().into(),
        read: flag("read")?,
        write: flag("write")?,
        create: flag("create")?,
        truncate: flag("truncate")?,
        append: flag("append")?,
        exclusive: flag("exclusive")?,
        perm: perm(&options)?,
    };
    options.finish()?;
    if !(open.read || open.write || open.append) {
        return Err(call.fail("the mode needs at least one of `read`, `write` and `append`"));
    }
    let agent = remote.agent();
    let fd = ask(&*agent, call, |client| client.ask(ops::open_file(open)))?;
    let shared = Rc::new(GuestFile {
        made: Made::now(call, agent),
        fd,
        path: String::from_utf8_lossy(&path).into_owned(),
        site: location::caller(call.lua()),
        closed: Cell::default(),
    });
    call.file().scopes.own(Rc::clone(&shared) as Rc<dyn Held>);
    one(call.lua(), OpenedFile(shared).into_userdata(call.lua())?)
}

impl Kind for OpenedFile {
    const NAME: &'static str = "File";
    const PREFIX: &'static str = "file";

    fn methods() -> Vec<Method<OpenedFile>> {
        vec![
            Method {
                name: "read",
                signature: "(n: integer): string",
                doc: "At most so many bytes from the position on; \"\" at the end.",
                run: read,
            },
            Method {
                name: "read_all",
                signature: "(): string",
                doc: "Everything from the position to the end.",
                run: |call, file| {
                    call.at_most(0)?;
                    let fd = file.open_fd(call)?;
                    let content = file
                        .0
                        .made
                        .ask(call, |client| client.ask(ops::read_fd(fd, None)))?;
                    one(call.lua(), call.lua().create_string(content)?)
                },
            },
            Method {
                name: "write",
                signature: "(data: string): integer",
                doc: "Writes at the position; returns the bytes written.",
                run: write,
            },
            Method {
                name: "seek",
                signature: "(offset: integer, whence?: \"set\"|\"cur\"|\"end\"): integer",
                doc: "Moves the position and returns it.",
                run: seek,
            },
            Method {
                name: "tell",
                signature: "(): integer",
                doc: "The position.",
                run: |call, file| {
                    call.at_most(0)?;
                    move_to(call, file, 0, Whence::Current)
                },
            },
            Method {
                name: "fd",
                signature: "(): integer",
                doc: "Its descriptor in the agent, for system calls; 0 once it is closed.",
                run: |call, file| {
                    call.at_most(0)?;
                    let open = !file.0.is_closed() && file.0.made.is_there();
                    one(call.lua(), if open { file.0.fd } else { 0 })
                },
            },
            Method {
                name: "tail_stream",
                signature: "(): Tail",
                doc: "A stream of what can be read from it, from the position on; the position stays.",
                run: |call, file| {
                    call.at_most(0)?;
                    file.stream(call)
                },
            },
            Method {
                name: "close",
                signature: "()",
                doc: "Closes it; calling it again does nothing.",
                run: |call, file| {
                    call.at_most(0)?;
                    if !file.0.is_closed() && file.0.made.is_there() {
                        let fd = file.0.fd;
                        file.0.note_closed();
                        file.0.made.ask(call, |client| client.ask(ops::close_fd(fd)))?;
                    }
                    none()
                },
            },
        ]
    }

    fn describe(&self) -> String {
        let agent = self.agent().shown();
        let closed = if self.0.is_closed() { ", closed" } else { "" };
        format!("File `{}` of {agent}{closed}", self.0.path)
    }

    fn same(&self, other: &OpenedFile) -> bool {
        Rc::ptr_eq(&self.0, &other.0)
    }
}

fn read(call: &mut Call<'_>, file: &OpenedFile) -> Answer {
    call.at_most(1)?;
    let number =
        integer(call.arg(0)).map_err(|message| call.fail(format_args!("how many bytes: {message}")))?;
    let max = u64::try_from(number).map_err(|_| call.fail(format_args!("{number} is no number of bytes")))?;
    let fd = file.open_fd(call)?;
    let content = file
        .0
        .made
        .ask(call, |client| client.ask(ops::read_fd(fd, Some(max))))?;
    one(call.lua(), call.lua().create_string(content)?)
}

fn write(call: &mut Call<'_>, file: &OpenedFile) -> Answer {
    call.at_most(1)?;
    let data = call.string(0, "a string to write")?.as_bytes().to_vec();
    let fd = file.open_fd(call)?;
    let written = file
        .0
        .made
        .ask(call, |client| client.ask(ops::write_fd(fd, data)))?;
    one(call.lua(), i64::try_from(written).unwrap_or(i64::MAX))
}

fn seek(call: &mut Call<'_>, file: &OpenedFile) -> Answer {
    call.at_most(2)?;
    let offset = integer(call.arg(0)).map_err(|message| call.fail(format_args!("the offset: {message}")))?;
    let whence = match call.arg(1) {
        Value::Nil => Whence::Set,
        Value::String(text) => match &*text.as_bytes() {
            b"set" => Whence::Set,
            b"cur" => Whence::Current,
            b"end" => Whence::End,
            _ => {
                let text = text.to_string_lossy();
                return Err(call.fail(format_args!(
                    "expected \"set\", \"cur\" or \"end\" as whence, got {text:?}"
                )));
            }
        },
        other => return Err(call.wrong("\"set\", \"cur\" or \"end\" as whence", other)),
    };
    move_to(call, file, offset, whence)
}

fn move_to(call: &Call<'_>, file: &OpenedFile, offset: i64, whence: Whence) -> Answer {
    let fd = file.open_fd(call)?;
    let offset = file
        .0
        .made
        .ask(call, |client| client.ask(ops::seek_fd(fd, offset, whence)))?;
    one(call.lua(), i64::try_from(offset).unwrap_or(i64::MAX))
}
