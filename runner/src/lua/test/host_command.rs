//! `os.execute` and `io.popen`: commands of the host that a test's end ends.
//!
//! Input: what Lua's own take. Output: what Lua's own give; a file of `io.popen` is Lua's own file. A command
//! runs in a group of its own, which is killed at the test's limit, at Ctrl-C, and for `io.popen` at the end
//! of the test at the latest. Its output is on stderr, since stdout belongs to the report, and its standard
//! input is empty, since nobody types to one of several tests. Not here: what a command leaves in the
//! background.

use std::cell::RefCell;
use std::fs;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};
use std::rc::Rc;

use mlua::{Function, IntoLuaMulti, Lua, MultiValue, Table, Value};
use provium_base::group::{self, GroupChild};
use rustix::io::{FdFlags, fcntl_setfd};

use crate::lua::api::binding::function;
use crate::lua::api::call::Call;
use crate::lua::api::raise::{Answer, Raise, one};
use crate::lua::state::scope::Held;

/// Registry key of Lua's own `io.open`.
const OPEN: &str = "provium.io.open";
/// Registry key of the table that has, for each open file of `io.popen`, the function that waits for its
/// command.
const WAITS: &str = "provium.io.waits";
/// The shell, as system(3) and popen(3) have it.
const SHELL: &str = "/bin/sh";

/// Makes closing a file of `io.popen` wait for its command.
pub(crate) fn install(lua: &Lua) -> mlua::Result<()> {
    let io: Table = lua.globals().get("io")?;
    lua.set_named_registry_value(OPEN, io.get::<Function>("open")?)?;
    let chunk = lua.load(include_str!("host_command.lua")).set_name("=[provium]");
    lua.set_named_registry_value(WAITS, chunk.call::<Table>(())?)
}

/// `os.execute(command?)`.
pub(crate) fn execute(call: &mut Call<'_>) -> Answer {
    if call.arg(0).is_nil() {
        return one(call.lua(), Path::new(SHELL).exists());
    }
    let child = shell(call, 0).and_then(|mut shell| {
        let shell = shell.stdin(Stdio::null()).stdout(stderr()?);
        group::spawn(shell, &call.file().cancel())
    });
    match child {
        Ok(child) => wait_for(call, child),
        Err(error) => failed(call, &error),
    }
}

/// `io.popen(command, mode?)`.
pub(crate) fn popen(call: &mut Call<'_>) -> Answer {
    let mode = match call.arg(1) {
        Value::Nil => "r".to_owned(),
        Value::String(mode) if matches!(&*mode.as_bytes(), b"r" | b"w") => mode.to_string_lossy(),
        _ => return Err(call.fail("the mode is \"r\" or \"w\"")),
    };
    let started = shell(call, 0).and_then(|mut shell| {
        let shell = match mode.as_str() {
            "r" => shell.stdin(Stdio::null()).stdout(Stdio::piped()),
            _ => shell.stdin(Stdio::piped()).stdout(stderr()?),
        };
        group::spawn(shell, &call.file().cancel())
    });
    let mut child = match started {
        Ok(child) => child,
        Err(error) => return failed(call, &error),
    };
    let ours = child.take_stdout().map(OwnedFd::from);
    let Some(ours) = ours.or_else(|| child.take_stdin().map(OwnedFd::from)) else {
        return Err(call.fail("the command has no pipe"));
    };
    let file = group::undisturbed(|| lua_file(call.lua(), ours.as_fd(), &mode))?;
    let command = Rc::new(HostCommand(RefCell::new(Some(child))));
    call.file().scopes.own(Rc::clone(&command) as Rc<dyn Held>);
    let wait = function(call.lua(), "io.close", move |call| match command.0.take() {
        Some(child) => wait_for(call, child),
        // Its test has ended before.
        None => one(call.lua(), Value::Nil),
    })?;
    let waits: Table = call.lua().named_registry_value(WAITS)?;
    waits.raw_set(&file, wait)?;
    one(call.lua(), file)
}

/// A command of `io.popen` that nobody has waited for.
struct HostCommand(RefCell<Option<GroupChild>>);

impl Held for HostCommand {
    fn begin_close(&self) {
        if let Some(child) = &*self.0.borrow() {
            child.kill();
        }
    }

    fn close(&self) {
        drop(self.0.take());
    }
}

/// The shell with the command line that an argument is; like Lua's own, it takes a number for a string.
fn shell(call: &Call<'_>, at: usize) -> io::Result<Command> {
    let line = match call.lua().coerce_string(call.arg(at).clone()) {
        Ok(Some(line)) => line,
        _ => {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "the command is not a string",
            ));
        }
    };
    let mut command = Command::new(SHELL);
    command
        .arg("-c")
        .arg(std::ffi::OsStr::from_bytes(&line.as_bytes()));
    Ok(command)
}

/// This process's stderr, for a command's output.
fn stderr() -> io::Result<Stdio> {
    io::stderr().as_fd().try_clone_to_owned().map(Stdio::from)
}

/// A file of Lua's own over the pipe `ours`, of which it has a descriptor by itself. No command may be
/// started meanwhile: it would inherit that descriptor, and hold the pipe open.
fn lua_file(lua: &Lua, ours: BorrowedFd<'_>, mode: &str) -> Result<Value, Raise> {
    let known = format!("/proc/self/fd/{}", ours.as_raw_fd());
    let open: Function = lua.named_registry_value(OPEN)?;
    let (file, error): (Value, Value) = open.call((known.as_str(), mode))?;
    if file.is_nil() {
        return Err(Raise::Value(error));
    }
    let failed = |error: io::Error| Raise::text(format!("io.popen: {error}"));
    let pipe = fs::read_link(&known).map_err(failed)?;
    for entry in fs::read_dir("/proc/self/fd").map_err(failed)?.flatten() {
        let number = entry.file_name().to_str().and_then(|name| name.parse().ok());
        let same = fs::read_link(entry.path()).is_ok_and(|link| link == pipe);
        if let Some(number) = number.filter(|&number| same && number != ours.as_raw_fd()) {
            // SAFETY: `file` was opened above and is referred to from this stack, so that Lua does not close
            // its descriptor meanwhile; no other descriptor of this process is of that pipe.
            let theirs = unsafe { BorrowedFd::borrow_raw(number) };
            fcntl_setfd(theirs, FdFlags::CLOEXEC).map_err(|error| failed(error.into()))?;
        }
    }
    Ok(file)
}

/// Waits for a command and says how it ended, as Lua's own does.
fn wait_for(call: &Call<'_>, mut child: GroupChild) -> Answer {
    let status = match child.wait() {
        Ok(status) => status,
        Err(error) => return failed(call, &error),
    };
    match call.file().cancel().is_cancelled() {
        // The reason is said in its place.
        Some(_) => Err(call.fail("ended")),
        None => ended(call.lua(), status),
    }
}

/// How a command ended: true or nil, `exit` or `signal`, the number.
fn ended(lua: &Lua, status: ExitStatus) -> Answer {
    let (what, number) = match status.signal() {
        Some(signal) => ("signal", signal),
        None => ("exit", status.code().unwrap_or_default()),
    };
    let ok = if status.success() {
        Value::Boolean(true)
    } else {
        Value::Nil
    };
    Ok((ok, what, number).into_lua_multi(lua)?)
}

/// What Lua's own gives for an error of the system: nil, a text and its number.
fn failed(call: &Call<'_>, error: &io::Error) -> Result<MultiValue, Raise> {
    match error.raw_os_error() {
        Some(number) => {
            let text = rustix::io::Errno::from_raw_os_error(number);
            Ok((Value::Nil, text.to_string(), number).into_lua_multi(call.lua())?)
        }
        None => Err(call.fail(error)),
    }
}
