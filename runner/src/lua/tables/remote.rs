//! The table of what VMs and workers have in common: commands, files, system calls, the classic dialect.
//!
//! Input: the methods of `objects` and `classic`. Output: one row for each, in the order in which the stubs
//! have it; those that a batch can do as well are the methods of `Batch`. Where the two dialects contradict
//! each other, it is decided here which one answers. Not here: what a method does.

use mlua::Value;

use crate::lua::api::binding::Method;
use crate::lua::api::call::Call;
use crate::lua::api::raise::Answer;
use crate::lua::classic;
use crate::lua::objects::batch::{self, Batch, record};
use crate::lua::objects::operation::ask;
use crate::lua::objects::process::methods::run_async;
use crate::lua::objects::process::run::run;
use crate::lua::objects::remote::Remote;
use crate::lua::objects::stream::tail;
use crate::lua::objects::syscall::call::syscall;
use crate::lua::objects::syscall::handle::syscall_async;
use crate::lua::objects::syscall::ioctl;
use crate::lua::objects::vm::handle::Vm;
use crate::lua::objects::{dmesg, files, open_file};

/// A method of every remote.
struct Row<T> {
    /// The method by itself.
    method: Method<T>,
    /// The method of a batch that records it, or why there is none.
    in_batch: Result<Method<Batch>, &'static str>,
}

/// A row that a batch can do as well: name with its article, parameters, result, description, and the
/// function that reads an operation from the arguments.
macro_rules! operation {
    ($article:literal $name:literal, $parameters:literal, $result:literal, $doc:literal, $read:expr) => {
        Row {
            method: Method {
                name: $name,
                signature: concat!($parameters, $result),
                doc: $doc,
                run: |call, this| ask(call, this, $read),
            },
            in_batch: Ok(Method {
                name: $name,
                signature: $parameters,
                doc: concat!("Records ", $article, " `", $name, "`."),
                run: |call, batch| record(call, batch, $read),
            }),
        }
    };
}

/// A row that no batch can do, for this reason.
fn alone<T>(method: Method<T>, reason: &'static str) -> Row<T> {
    Row {
        method,
        in_batch: Err(reason),
    }
}

/// Why a batch does not make what a test then holds.
const LIVES_ON: &str = "what comes of it lives on, and the test has to own it from the moment it is there";

/// All rows but those of the classic dialect.
fn rows<T: Remote>() -> Vec<Row<T>> {
    vec![
        operation!(
            "a" "run",
            "(cmd: string|string[], opts?: table)",
            ": RunResult",
            "Runs a command to its end: a line for the shell, or a program with `args`.",
            run
        ),
        alone(
            Method {
                name: "run_async",
                signature: "(cmd: string|string[], opts?: table): Process",
                doc: "Starts a command and leaves it running.",
                run: run_async,
            },
            LIVES_ON,
        ),
        in_dialect(
            operation!(
                "a" "syscall",
                "(nr: integer, ...: integer|table)",
                ": table",
                "Makes a system call in the guest's agent.",
                syscall
            ),
            syscall_of_dialect,
        ),
        alone(
            Method {
                name: "syscall_async",
                signature: "(nr: integer, ...: integer|table): SyscallHandle",
                doc: "Makes a system call on a thread of its own and does not wait for it.",
                run: syscall_async,
            },
            LIVES_ON,
        ),
        alone(
            Method {
                name: "ioctl",
                signature: "(fd: integer|File, cmd: integer, data?: string|integer, opts?: table): table",
                doc: "Makes an ioctl in the guest's agent.",
                run: ioctl_of_dialect,
            },
            "it is a system call, which a batch has",
        ),
        alone(
            Method {
                name: "read_mem",
                signature: "(addr: integer, len: integer): string?, integer?",
                doc: "Memory of the agent's process; nil and the error number where there is none.",
                run: ioctl::read_mem,
            },
            "it has two results, and an entry of a batch has one",
        ),
        alone(
            Method {
                name: "batch",
                signature: "(fn: fun(b: Batch)): table[]",
                doc: "Does what the function asks of `b`, all in one round trip; `{ok=}` or `{err=}` for each.",
                run: batch::batch,
            },
            "it is the batch",
        ),
        operation!(
            "a" "read_file",
            "(path: string)",
            ": string",
            "The content of a file of the guest.",
            files::read
        ),
        operation!(
            "a" "write_file",
            "(path: string, data: string)",
            ": integer",
            "Creates or replaces a file of the guest; returns the bytes written.",
            files::write
        ),
        alone(
            Method {
                name: "pull_file",
                signature: "(guest: string, host: string)",
                doc: "Copies a file of the guest to the host.",
                run: files::pull_file,
            },
            "the file goes to the host's disk as it comes, for it may not fit into memory",
        ),
        operation!(
            "a" "stat",
            "(path: string, opts?: {follow: boolean})",
            ": table",
            "Size, times, permissions and type of a file of the guest; of the link itself with `follow=false`.",
            files::stat
        ),
        operation!(
            "a" "listdir",
            "(path: string)",
            ": {name: string, entry_type: string}[]",
            "The entries of a folder of the guest, by name.",
            files::listdir
        ),
        operation!(
            "a" "mkdir",
            "(path: string, opts?: {parents: boolean, perm: integer})",
            "",
            "Makes a folder in the guest.",
            files::mkdir
        ),
        operation!(
            "an" "unlink",
            "(path: string)",
            "",
            "Removes a file of the guest.",
            files::unlink
        ),
        operation!(
            "a" "rename",
            "(from: string, to: string)",
            "",
            "Renames a file or folder of the guest.",
            files::rename
        ),
        operation!(
            "an" "rmdir",
            "(path: string, opts?: {recursive: boolean})",
            "",
            "Removes an empty folder of the guest; with `recursive` what is in it as well.",
            files::rmdir
        ),
        operation!(
            "a" "chmod",
            "(path: string, mode: integer)",
            "",
            "Sets the permission bits of a file of the guest.",
            files::chmod
        ),
        operation!(
            "a" "chown",
            "(path: string, uid?: integer, gid?: integer, opts?: {follow: boolean})",
            "",
            "Sets the owners of a file of the guest; nil leaves one as it is.",
            files::chown
        ),
        operation!(
            "a" "symlink",
            "(target: string, path: string)",
            "",
            "Makes a symbolic link in the guest.",
            files::symlink
        ),
        operation!(
            "a" "readlink",
            "(path: string)",
            ": string",
            "What a symbolic link of the guest says.",
            files::readlink
        ),
        operation!(
            "a" "truncate",
            "(path: string, size: integer|string)",
            "",
            "Cuts a file of the guest off, or lengthens it with zeros.",
            files::truncate
        ),
        operation!(
            "an" "exists",
            "(path: string)",
            ": boolean",
            "Whether a path of the guest leads to anything, through symbolic links.",
            files::exists
        ),
        alone(
            Method {
                name: "open_file",
                signature: "(path: string, mode: table): File",
                doc: "Opens a file of the guest, in the agent.",
                run: open_file::open_file,
            },
            LIVES_ON,
        ),
        alone(
            Method {
                name: "tail_file",
                signature: "(path: string, opts?: {start: string|integer}): Tail",
                doc: "A stream of what is added to a file of the guest, through truncation and renaming.",
                run: tail::tail_file,
            },
            LIVES_ON,
        ),
        alone(
            Method {
                name: "fd_stream",
                signature: "(fd: integer|File): Tail",
                doc: "A stream of what can be read from a descriptor of the agent.",
                run: tail::fd_stream,
            },
            LIVES_ON,
        ),
        alone(
            Method {
                name: "dmesg",
                signature: "(pattern?: string): string",
                doc: "The kernel log, or those of its lines that match a Lua pattern.",
                run: dmesg_of_dialect,
            },
            "it takes several system calls, of which one needs the answer of the other",
        ),
    ]
}

/// The methods that every remote has, of both dialects.
pub(crate) fn methods<T: Remote>() -> Vec<Method<T>> {
    let mut methods: Vec<_> = rows().into_iter().map(|row| row.method).collect();
    // These go with a dialect whose batches are those of the other.
    methods.extend(classic::methods());
    methods
}

/// The methods of a batch: files first, as messages list them.
pub(super) fn batch_methods() -> Vec<Method<Batch>> {
    let mut methods: Vec<_> = rows::<Vm>()
        .into_iter()
        .filter_map(|row| row.in_batch.ok())
        .collect();
    if let Some(at) = methods.iter().position(|method| method.name == "syscall") {
        let syscall = methods.remove(at);
        methods.push(syscall);
    }
    methods
}

/// A row whose method by itself depends on the dialect.
fn in_dialect<T: Remote>(row: Row<T>, run: fn(&mut Call<'_>, &T) -> Answer) -> Row<T> {
    Row {
        method: Method { run, ..row.method },
        ..row
    }
}

/// `syscall`; its table form is the same in both dialects.
fn syscall_of_dialect<T: Remote>(call: &mut Call<'_>, this: &T) -> Answer {
    match this.is_classic() && !matches!(call.arg(1), Value::Table(_)) {
        true => classic::calls::syscall(call, this),
        false => ask(call, this, syscall),
    }
}

/// `ioctl`.
fn ioctl_of_dialect<T: Remote>(call: &mut Call<'_>, this: &T) -> Answer {
    match this.is_classic() {
        true => classic::calls::ioctl(call, this),
        false => ioctl::ioctl(call, this),
    }
}

/// `dmesg`.
fn dmesg_of_dialect<T: Remote>(call: &mut Call<'_>, this: &T) -> Answer {
    match this.is_classic() {
        true => classic::dmesg::dmesg(call, this),
        false => dmesg::dmesg(call, this),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::lua::api::binding::Kind;
    use crate::lua::objects::worker::Worker;

    #[test]
    fn what_a_vm_does_in_one_request_a_batch_does_as_well() {
        let rows = rows::<Vm>();
        let batch = Batch::methods();
        for row in &rows {
            let name = row.method.name;
            let recorded = batch.iter().find(|method| method.name == name);
            match (&row.in_batch, recorded) {
                (Ok(_), Some(recorded)) => assert!(
                    row.method.signature.starts_with(recorded.signature),
                    "{name}: other parameters in a batch"
                ),
                (Ok(_), None) => panic!("{name} can be batched, and a batch does not have it"),
                (Err(reason), None) => assert!(reason.len() > 10, "{name}: no reason"),
                (Err(_), Some(_)) => panic!("{name} cannot be batched, and a batch has it"),
            }
        }
        // What both have is in this table or of the other dialect, but for the ways in which each ends
        // itself.
        let names = |methods: Vec<&'static str>| methods.into_iter().collect::<BTreeSet<_>>();
        let of_vm = names(Vm::methods().iter().map(|method| method.name).collect());
        let of_worker = names(Worker::methods().iter().map(|method| method.name).collect());
        let own = names(rows.iter().map(|row| row.method.name).collect());
        let classic = names(
            classic::methods::<Vm>()
                .iter()
                .map(|method| method.name)
                .collect(),
        );
        let both: BTreeSet<_> = of_vm.intersection(&of_worker).copied().collect();
        let common: BTreeSet<_> = own.union(&classic).copied().collect();
        let aside = BTreeSet::from(["close", "kill"]);
        let beside: Vec<_> = both
            .difference(&common)
            .filter(|name| !aside.contains(*name))
            .collect();
        assert!(beside.is_empty(), "{beside:?} are in no row");
        assert_eq!(
            batch.len(),
            rows.iter().filter(|row| row.in_batch.is_ok()).count()
        );
    }
}
