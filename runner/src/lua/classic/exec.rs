//! Commands and files in the classic dialect: `exec`, `json`, `mount_vfs`, `wait_until`.
//!
//! Input: shell lines. Output: tables whose outputs are [`Text`] objects. Not here: `write_file` and
//! `read_file`, which are the same in both dialects, and everything that takes options.

use std::time::Duration;

use provium_guest::{ExecOutcome, ExitStatus, GuestError, Syscall, ops};

use crate::lua::api::binding::{Kind, Method};
use crate::lua::api::call::Call;
use crate::lua::api::condition::set_result;
use crate::lua::api::raise::{Answer, Raise, none, one};
use crate::lua::api::text::Text;
use crate::lua::api::{json, render, signal};
use crate::lua::objects::process::command::Command;
use crate::lua::objects::remote::Remote;
use crate::lua::test::wait;

/// Most characters of standard error in a message.
const STDERR_MAX: usize = 2000;
/// File systems that `mount_vfs` mounts: type, folder, and whether a kernel may lack it.
const FILE_SYSTEMS: [(&str, &str, bool); 4] = [
    ("proc", "/proc", false),
    ("sysfs", "/sys", false),
    ("securityfs", "/sys/kernel/security", true),
    ("devtmpfs", "/dev", false),
];

pub(super) fn methods<T: Remote>() -> Vec<Method<T>> {
    vec![
        Method {
            name: "exec",
            signature: "(cmd: string): {ok: boolean, exit_code: integer, stdout: Text, stderr: Text}",
            doc: "Runs a line of the shell to its end.",
            run: exec,
        },
        Method {
            name: "json",
            signature: "(cmd: string): any",
            doc: "Runs a line of the shell and decodes its output as JSON; raises if either fails.",
            run: exec_json,
        },
        Method {
            name: "mount_vfs",
            signature: "()",
            doc: "Mounts proc, sysfs, securityfs where the kernel has it, and devtmpfs; what is mounted stays \
                  as it is.",
            run: mount_vfs,
        },
        Method {
            name: "wait_until",
            signature: "(fn: (fun(): any), opts?: {timeout: number, interval: number, desc: string}): any",
            doc: "Calls a function every half second until it returns something true, 10 seconds at most.",
            run: |call, _| wait::poll(call, Duration::from_millis(500)),
        },
    ]
}

/// The line of the shell in the first argument, and how messages show it.
pub(super) fn line(call: &Call<'_>) -> Result<Command, Raise> {
    call.at_most(1)?;
    let line = call.string(0, "a string as command")?;
    let line = line.as_bytes();
    if line.iter().all(u8::is_ascii_whitespace) {
        return Err(call.fail("the command is empty"));
    }
    if line.contains(&0) {
        return Err(call.fail("the command contains a NUL byte"));
    }
    Ok(Command::shell(&line))
}

fn run<T: Remote>(call: &Call<'_>, this: &T) -> Result<(String, ExecOutcome), Raise> {
    let command = line(call)?;
    let outcome = this.ask(call, |client| client.ask(ops::exec(command.spec)))?;
    Ok((command.shown, outcome))
}

/// The exit code, as a shell counts what a signal ended.
pub(super) fn exit_code(status: ExitStatus) -> i64 {
    match status {
        ExitStatus::Exited(code) => code.into(),
        ExitStatus::Signalled(number) => 128 + i64::from(number),
        ExitStatus::TimedOut => -2,
    }
}

fn exec<T: Remote>(call: &mut Call<'_>, this: &T) -> Answer {
    let (_, outcome) = run(call, this)?;
    let lua = call.lua();
    let text = |bytes: &[u8]| Text::new(lua.create_string(bytes)?).into_userdata(lua);
    let table = lua.create_table()?;
    table.raw_set("ok", outcome.status == ExitStatus::Exited(0))?;
    table.raw_set("exit_code", exit_code(outcome.status))?;
    table.raw_set("stdout", text(&outcome.stdout)?)?;
    table.raw_set("stderr", text(&outcome.stderr)?)?;
    set_result(&table, &lua.create_table()?, "result of `exec`", "`.ok`")?;
    one(lua, table)
}

fn exec_json<T: Remote>(call: &mut Call<'_>, this: &T) -> Answer {
    let (line, outcome) = run(call, this)?;
    let line = render::shorten(&line, 300);
    let how = match outcome.status {
        ExitStatus::Exited(0) => {
            let decoded = json::parse(call.lua(), &outcome.stdout);
            return decoded
                .map(|value| [value].into_iter().collect())
                .map_err(|error| call.fail(format_args!("the output of `{line}` is not JSON: {error}")));
        }
        ExitStatus::Exited(code) => format!("exited with code {code}"),
        ExitStatus::Signalled(number) => format!("was ended by {} ({number})", signal::name(number)),
        ExitStatus::TimedOut => "timed out".to_owned(),
    };
    let stderr = String::from_utf8_lossy(&outcome.stderr);
    let stderr = match stderr.trim_end() {
        "" => "(empty)".to_owned(),
        text => render::shorten(text, STDERR_MAX),
    };
    Err(call.fail(format_args!("`{line}` {how}\n  stderr: {stderr}")))
}

/// Whether a file system of this type is mounted there. The kernel by itself would mount another proc over
/// the first.
fn is_mounted<T: Remote>(call: &Call<'_>, this: &T, kind: &str, folder: &str) -> Result<bool, Raise> {
    let mounts = this.ask(call, |client| match client.ask(ops::read_file(b"/proc/mounts")) {
        // Without proc nobody can tell, and little can be mounted.
        Err(GuestError::Op(_)) => Ok(Vec::new()),
        read => read,
    })?;
    let mounts = String::from_utf8_lossy(&mounts);
    let found = mounts.lines().any(|line| {
        let mut fields = line.split(' ').skip(1);
        fields.next() == Some(folder) && fields.next() == Some(kind)
    });
    Ok(found)
}

fn mount_vfs<T: Remote>(call: &mut Call<'_>, this: &T) -> Answer {
    const MKDIR: i64 = 83;
    const MOUNT: i64 = 165;
    call.at_most(0)?;
    let name = |text: &str| [text.as_bytes(), &[0]].concat().into();
    for (kind, folder, optional) in FILE_SYSTEMS {
        if is_mounted(call, this, kind, folder)? {
            continue;
        }
        let make = Syscall {
            nr: MKDIR,
            args: [0, 0o755, 0, 0, 0, 0],
            bufs: vec![name(folder)],
            ptrs: vec![(0, 0)],
            nested: Vec::new(),
        };
        let mount = Syscall {
            nr: MOUNT,
            args: [0; 6],
            bufs: vec![name(kind), name(folder), name(kind)],
            ptrs: vec![(0, 0), (1, 1), (2, 2)],
            nested: Vec::new(),
        };
        if !optional {
            // It is there, or mounting says what is wrong.
            this.ask(call, |client| client.ask(ops::syscall(make)))?;
        }
        let (ret, _) = this.ask(call, |client| client.ask(ops::syscall(mount)))?;
        let errno = i32::try_from(-ret).unwrap_or(i32::MAX);
        match errno {
            // It is mounted, and /proc is not there to say so.
            0 | libc::EBUSY => {}
            libc::ENODEV | libc::ENOENT if optional => {}
            errno => {
                let error = std::io::Error::from_raw_os_error(errno);
                return Err(call.fail(format_args!("mounting {kind} on {folder}: {error}")));
            }
        }
    }
    none()
}
