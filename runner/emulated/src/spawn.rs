//! Starts the command inside the emulated host, with the identity and streams it would have had outside.
//!
//! Input: a [`Plan`]. Output: a process with its streams: pipes, or one terminal for those that are a
//! terminal outside. Not here: what is sent through them.

use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use rustix::fs::Mode;
use rustix::process::{Gid, Pid, Uid};
use rustix::pty::{OpenptFlags, grantpt, ioctl_tiocgptpeer, openpt, unlockpt};
use rustix::termios::{
    LocalModes, OptionalActions, OutputModes, SpecialCodeIndex, Winsize, tcgetattr, tcsetattr, tcsetwinsize,
};

use crate::frame::{Plan, Terminal, WindowSize};

/// A running command.
pub(crate) struct Spawned {
    pub(crate) pid: Pid,
    /// Our ends of its streams, also where a stream is the terminal.
    pub(crate) stdin: Option<File>,
    pub(crate) stdout: Option<File>,
    pub(crate) stderr: Option<File>,
    /// Our end of its terminal, for the size and for Ctrl-D.
    pub(crate) pty: Option<File>,
}

/// Starts the command of a plan.
///
/// # Errors
/// When it cannot be executed.
pub(crate) fn spawn(plan: &Plan) -> io::Result<Spawned> {
    let name = |bytes: &[u8]| OsStr::from_bytes(bytes).to_owned();
    let mut argv = plan.argv.iter().map(|word| name(word));
    let program = argv.next().ok_or(io::ErrorKind::InvalidInput)?;
    let mut command = Command::new(program);
    command.args(argv).env_clear().current_dir(name(&plan.cwd));
    command.envs(plan.env.iter().map(|(key, value)| (name(key), name(value))));

    let pty = plan.terminal.as_ref().map(open_pty).transpose()?;
    let stream = |is_terminal: fn(&Terminal) -> bool| match (&pty, &plan.terminal) {
        (Some(pty), Some(terminal)) if is_terminal(terminal) => pty.command.try_clone().map(Stdio::from),
        _ => Ok(Stdio::piped()),
    };
    command.stdin(stream(|terminal| terminal.stdin)?);
    command.stdout(stream(|terminal| terminal.stdout)?);
    command.stderr(stream(|terminal| terminal.stderr)?);

    let controlling = pty.as_ref().map(|pty| pty.command.try_clone()).transpose()?;
    let identity = Identity::of(plan);
    // SAFETY: between fork and exec only system calls are made, on values prepared before: no allocation, no
    // lock.
    unsafe {
        command.pre_exec(move || {
            rustix::process::setsid()?;
            if let Some(terminal) = &controlling {
                rustix::process::ioctl_tiocsctty(terminal)?;
            }
            identity.apply()
        });
    }
    let mut child = command.spawn()?;
    drop(command); // it holds the command's end of the terminal
    let pid = Pid::from_child(&child);
    let master = |pty: &Pty| pty.master.try_clone().map(File::from);
    let stdin = child.stdin.take().map(|pipe| File::from(OwnedFd::from(pipe)));
    let stdout = child.stdout.take().map(|pipe| File::from(OwnedFd::from(pipe)));
    let stderr = child.stderr.take().map(|pipe| File::from(OwnedFd::from(pipe)));
    let (mut typed, mut shown) = (None, None);
    if let Some(pty) = &pty {
        typed = Some(master(pty)?).filter(|_| stdin.is_none());
        shown = Some(master(pty)?);
    }
    // One reader of the terminal, for stdout if that is the terminal, else for stderr, else for none.
    let (stdout, shown) = if stdout.is_none() {
        (shown, None)
    } else {
        (stdout, shown)
    };
    Ok(Spawned {
        pid,
        stdin: stdin.or(typed),
        stdout,
        stderr: stderr.or(shown),
        pty: pty.map(|pty| File::from(pty.master)),
    })
}

/// A pseudo-terminal.
struct Pty {
    /// Our end.
    master: OwnedFd,
    /// The command's end.
    command: OwnedFd,
}

/// Opens a pseudo-terminal with the size of the terminal outside.
fn open_pty(terminal: &Terminal) -> io::Result<Pty> {
    let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)?;
    grantpt(&master)?;
    unlockpt(&master)?;
    let command = ioctl_tiocgptpeer(
        &master,
        OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC,
    )?;
    tcsetwinsize(&master, winsize(terminal.size))?;
    if !terminal.raw {
        // The terminal outside echoes already, and turns "\n" into "\r\n".
        let mut modes = tcgetattr(&command)?;
        modes.local_modes -= LocalModes::ECHO;
        modes.output_modes -= OutputModes::OPOST;
        tcsetattr(&command, OptionalActions::Now, &modes)?;
    }
    Ok(Pty { master, command })
}

fn winsize(size: WindowSize) -> Winsize {
    Winsize {
        ws_row: size.rows,
        ws_col: size.columns,
        ws_xpixel: 0,
        ws_ypixel: 0,
    }
}

/// Sets the terminal's size; the kernel sends SIGWINCH to its foreground process group.
pub(crate) fn resize(pty: &File, size: WindowSize) {
    let _ = tcsetwinsize(pty, winsize(size));
}

/// Sends the terminal's end-of-file character, as typing Ctrl-D does.
pub(crate) fn end_of_typing(pty: &File) {
    if let Ok(modes) = tcgetattr(pty) {
        let _ = rustix::io::write(pty, &[modes.special_codes[SpecialCodeIndex::VEOF]]);
    }
}

/// User, groups and file mode creation mask of the command: those of the process outside.
struct Identity {
    uid: Uid,
    gid: Gid,
    groups: Vec<Gid>,
    umask: Mode,
}

impl Identity {
    fn of(plan: &Plan) -> Self {
        Self {
            uid: Uid::from_raw(plan.uid),
            gid: Gid::from_raw(plan.gid),
            groups: plan.groups.iter().map(|&group| Gid::from_raw(group)).collect(),
            umask: Mode::from_raw_mode(plan.umask),
        }
    }

    /// Takes the identity on; called in the new process, which has one thread.
    fn apply(&self) -> io::Result<()> {
        rustix::process::umask(self.umask);
        rustix::thread::set_thread_groups(&self.groups)?;
        rustix::thread::set_thread_gid(self.gid)?;
        rustix::thread::set_thread_uid(self.uid)?;
        Ok(())
    }
}
