//! The table of what VMs and workers have in common: commands, files, system calls, the classic dialect.
//!
//! Input: the methods of `objects` and `classic`. Output: one list, in the order in which the stubs have it.
//! Where the two dialects contradict each other, it is decided here which one answers. Not here: what a
//! method does.

use mlua::Value;

use crate::lua::api::binding::Method;
use crate::lua::api::call::Call;
use crate::lua::api::raise::Answer;
use crate::lua::classic;
use crate::lua::objects::process::methods::run_async;
use crate::lua::objects::process::run;
use crate::lua::objects::remote::Remote;
use crate::lua::objects::stream::tail;
use crate::lua::objects::syscall::handle::syscall_async;
use crate::lua::objects::syscall::{self, ioctl};
use crate::lua::objects::{batch, dmesg, files, open_file};

/// The methods that every remote has, of both dialects.
pub(crate) fn methods<T: Remote>() -> Vec<Method<T>> {
    let mut methods = vec![
        Method {
            name: "run",
            signature: "(cmd: string|string[], opts?: table): RunResult",
            doc: "Runs a command to its end: a line for the shell, or a program with `args`.",
            run: run::run,
        },
        Method {
            name: "run_async",
            signature: "(cmd: string|string[], opts?: table): Process",
            doc: "Starts a command and leaves it running.",
            run: run_async,
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
            run: syscall_async,
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
    methods.push(Method {
        name: "dmesg",
        signature: "(pattern?: string): string",
        doc: "The kernel log, or those of its lines that match a Lua pattern.",
        run: |call, this: &T| match this.is_classic() {
            true => classic::dmesg::dmesg(call, this),
            false => dmesg::dmesg(call, this),
        },
    });
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

/// `syscall`; its table form is the same in both dialects.
fn syscall<T: Remote>(call: &mut Call<'_>, this: &T) -> Answer {
    match this.is_classic() && !matches!(call.arg(1), Value::Table(_)) {
        true => classic::calls::syscall(call, this),
        false => syscall::call::syscall(call, this),
    }
}

/// `ioctl`.
fn ioctl<T: Remote>(call: &mut Call<'_>, this: &T) -> Answer {
    match this.is_classic() {
        true => classic::calls::ioctl(call, this),
        false => ioctl::ioctl(call, this),
    }
}
