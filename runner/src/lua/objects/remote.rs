//! What can be asked of any agent, a VM's own or a worker's: commands, files, system calls.
//!
//! Enters: a userdata behind which an agent answers, as a [`Remote`]. Leaves: the methods that all of them share.
//! Absent on purpose: how the agent is reached and what its end means; each kind has that.

use std::rc::Rc;

use mlua::Value;

use crate::guest::{GuestClient, GuestError};
use crate::lua::api::binding::{Kind, Method};
use crate::lua::api::call::{Answer, Call, Raise, one};
use crate::lua::classic;
use crate::lua::objects::agent::{self, Agent};
use crate::lua::objects::command::command;
use crate::lua::objects::run_result::RunResult;
use crate::lua::objects::{batch, dmesg, files, ioctl, open_file, process, syscall, syscall_handle, tail};

/// A userdata behind which an agent answers.
pub(crate) trait Remote: Kind {
    /// Whether it answers in the classic dialect where the two dialects contradict each other.
    fn is_classic(&self) -> bool;

    /// Who answers.
    fn agent(&self) -> Rc<dyn Agent>;

    /// Asks the agent.
    fn ask<R>(
        &self,
        call: &Call<'_>,
        question: impl FnOnce(&mut GuestClient) -> Result<R, GuestError>,
    ) -> Result<R, Raise> {
        agent::ask(&*self.agent(), call, question)
    }
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
            name: "run_async",
            signature: "(cmd: string|string[], opts?: table): Process",
            doc: "Starts a command and leaves it running.",
            run: process::run_async,
        },
        Method {
            name: "syscall",
            signature: "(nr: integer, ...: integer|table): table",
            doc: "Makes a system call in the guest's agent.",
            run: syscall,
        },
        Method {
            name: "syscall_async",
            signature: "(nr: integer, ...: integer|table): SyscallHandle",
            doc: "Makes a system call on a thread of its own and does not wait for it.",
            run: syscall_handle::syscall_async,
        },
        Method {
            name: "ioctl",
            signature: "(fd: integer|File, cmd: integer, data?: string|integer, opts?: table): table",
            doc: "Makes an ioctl in the guest's agent.",
            run: ioctl,
        },
        Method {
            name: "read_mem",
            signature: "(addr: integer, len: integer): string?, integer?",
            doc: "Memory of the agent's process; nil and the error number where there is none.",
            run: ioctl::read_mem,
        },
        Method {
            name: "batch",
            signature: "(fn: fun(b: Batch)): table[]",
            doc: "Does what the function asks of `b`, all in one round trip; `{ok=}` or `{err=}` for each.",
            run: batch::batch,
        },
    ];
    methods.extend(file_methods());
    methods.extend(dmesg::methods());
    methods.extend(classic::methods());
    methods
}

fn file_methods<T: Remote>() -> Vec<Method<T>> {
    vec![
        Method {
            name: "read_file",
            signature: "(path: string): string",
            doc: "The content of a file of the guest.",
            run: |call, this| files::read_op(call).and_then(|op| files::answer(call, this, op)),
        },
        Method {
            name: "write_file",
            signature: "(path: string, data: string): integer",
            doc: "Creates or replaces a file of the guest; returns the bytes written.",
            run: |call, this| files::write_op(call).and_then(|op| files::answer(call, this, op)),
        },
        Method {
            name: "pull_file",
            signature: "(guest: string, host: string)",
            doc: "Copies a file of the guest to the host.",
            run: files::pull_file,
        },
        Method {
            name: "stat",
            signature: "(path: string, opts?: {follow: boolean}): table",
            doc: "Size, times, permissions and type of a file of the guest; of the link itself with `follow=false`.",
            run: |call, this| files::stat_op(call).and_then(|op| files::answer(call, this, op)),
        },
        Method {
            name: "listdir",
            signature: "(path: string): {name: string, entry_type: string}[]",
            doc: "The entries of a folder of the guest, by name.",
            run: |call, this| files::listdir_op(call).and_then(|op| files::answer(call, this, op)),
        },
        Method {
            name: "mkdir",
            signature: "(path: string, opts?: {parents: boolean, perm: integer})",
            doc: "Makes a folder in the guest.",
            run: |call, this| files::mkdir_op(call).and_then(|op| files::answer(call, this, op)),
        },
        Method {
            name: "unlink",
            signature: "(path: string)",
            doc: "Removes a file of the guest.",
            run: |call, this| files::unlink_op(call).and_then(|op| files::answer(call, this, op)),
        },
        Method {
            name: "rename",
            signature: "(from: string, to: string)",
            doc: "Renames a file or folder of the guest.",
            run: |call, this| files::rename_op(call).and_then(|op| files::answer(call, this, op)),
        },
        Method {
            name: "open_file",
            signature: "(path: string, mode: table): File",
            doc: "Opens a file of the guest, in the agent.",
            run: open_file::open_file,
        },
        Method {
            name: "tail_file",
            signature: "(path: string, opts?: {start: string|integer}): Tail",
            doc: "A stream of what is added to a file of the guest, through truncation and renaming.",
            run: tail::tail_file,
        },
        Method {
            name: "fd_stream",
            signature: "(fd: integer|File): Tail",
            doc: "A stream of what can be read from a descriptor of the agent.",
            run: tail::fd_stream,
        },
    ]
}

fn run<T: Remote>(call: &mut Call<'_>, this: &T) -> Answer {
    let command = command(call)?;
    let outcome = this.ask(call, |client| client.exec(&command.spec))?;
    let result = RunResult::new(call.lua(), command.shown, &outcome)?;
    one(call.lua(), result.into_userdata(call.lua())?)
}

fn ioctl<T: Remote>(call: &mut Call<'_>, this: &T) -> Answer {
    match this.is_classic() {
        true => classic::ioctl(call, this),
        false => ioctl::ioctl(call, this),
    }
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
