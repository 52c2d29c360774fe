//! What can be asked of any agent: commands, files, system calls.
//!
//! Enters: a userdata behind which an agent answers, as a [`Remote`]. Leaves: the methods that all of them share.
//! Absent on purpose: how the agent is reached and what its end means; each kind has that.

use mlua::{MultiValue, Value};
use provium_protocol::EntryType;

use super::binding::{Kind, Method};
use super::call::{Answer, Call, Raise, one};
use super::command::command;
use super::run_result::RunResult;
use super::{classic, dmesg, syscall};
use crate::guest::{GuestClient, GuestError};

/// A userdata behind which an agent answers.
pub(crate) trait Remote: Kind {
    /// Whether it answers in the classic dialect where the two dialects contradict each other.
    fn is_classic(&self) -> bool;

    /// Asks the agent.
    fn ask<R>(
        &self,
        call: &Call<'_>,
        question: impl FnOnce(&mut GuestClient) -> Result<R, GuestError>,
    ) -> Result<R, Raise>;
}

/// The methods every remote has.
pub(crate) fn methods<T: Remote>() -> Vec<Method<T>> {
    let mut methods = vec![
        Method {
            name: "run",
            signature: "(cmd: string|string[], opts?: table): RunResult",
            doc: "Runs a command to its end: a line for the shell, or a program with `args`.",
            run,
        },
        Method {
            name: "read_file",
            signature: "(path: string): string",
            doc: "The content of a file of the guest.",
            run: read_file,
        },
        Method {
            name: "write_file",
            signature: "(path: string, data: string): integer",
            doc: "Creates or replaces a file of the guest; returns the bytes written.",
            run: write_file,
        },
        Method {
            name: "stat",
            signature: "(path: string, opts?: {follow: boolean}): table",
            doc: "Size, times, permissions and type of a file of the guest; of the link itself with `follow=false`.",
            run: stat,
        },
        Method {
            name: "syscall",
            signature: "(nr: integer, ...: integer|table): table",
            doc: "Makes a system call in the guest's agent.",
            run: syscall,
        },
    ];
    methods.extend(dmesg::methods());
    methods.extend(classic::methods());
    methods
}

fn run<T: Remote>(call: &mut Call<'_>, this: &T) -> Answer {
    let command = command(call)?;
    let outcome = this.ask(call, |client| client.exec(&command.spec))?;
    let result = RunResult::new(call.lua(), command.shown, &outcome)?;
    one(call.lua(), result.into_userdata(call.lua())?)
}

fn read_file<T: Remote>(call: &mut Call<'_>, this: &T) -> Answer {
    call.at_most(1)?;
    let path = call.path(0)?;
    let content = this.ask(call, |client| client.read_file(&path))?;
    one(call.lua(), call.lua().create_string(content)?)
}

fn write_file<T: Remote>(call: &mut Call<'_>, this: &T) -> Answer {
    call.at_most(2)?;
    let path = call.path(0)?;
    let content = call.string(1, "a string as content")?;
    // The copy can go to another thread while this one reads the answer; Lua's memory cannot.
    let content = content.as_bytes().to_vec();
    let written = this.ask(call, |client| {
        client.write_file(&path, None, &mut content.as_slice())
    })?;
    one(call.lua(), i64::try_from(written).unwrap_or(i64::MAX))
}

fn stat<T: Remote>(call: &mut Call<'_>, this: &T) -> Answer {
    call.at_most(2)?;
    let path = call.path(0)?;
    let options = call.options(1)?;
    let follow = options.boolean("follow")?.unwrap_or(true);
    options.finish()?;
    let stat = this.ask(call, |client| client.stat(&path, follow))?;
    let table = call.lua().create_table()?;
    table.raw_set("size", i64::try_from(stat.size).unwrap_or(i64::MAX))?;
    table.raw_set("mtime", stat.mtime)?;
    table.raw_set("mtime_ns", stat.mtime_ns)?;
    table.raw_set("perm", stat.perm)?;
    table.raw_set("entry_type", entry_type(stat.entry_type))?;
    Ok(MultiValue::from_vec(vec![Value::Table(table)]))
}

fn syscall<T: Remote>(call: &mut Call<'_>, this: &T) -> Answer {
    // The table form is the same in both dialects.
    if this.is_classic() && !matches!(call.arg(1), Value::Table(_)) {
        return classic::syscall(call, this);
    }
    let arguments = syscall::arguments(call)?;
    let (ret, bufs) = this.ask(call, |client| client.syscall(arguments))?;
    syscall::result(call.lua(), ret, &bufs)
}

/// An entry type as Lua sees it.
fn entry_type(entry: EntryType) -> &'static str {
    match entry {
        EntryType::File => "file",
        EntryType::Directory => "directory",
        EntryType::Symlink => "symlink",
        EntryType::Fifo => "fifo",
        EntryType::Socket => "socket",
        EntryType::BlockDevice => "block_device",
        EntryType::CharDevice => "char_device",
        EntryType::Other => "other",
    }
}
