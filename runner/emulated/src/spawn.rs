//! Starts the command inside the emulated host, as the process outside would have.
//!
//! Enters: a [`Plan`]. Leaves: a process with its streams: pipes, or one terminal for those that are a terminal
//! outside. Absent on purpose: what flows through them.

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

use super::frame::{Plan, Terminal, WindowSize};

/// A running command.
pub(crate) struct Spawned {
    pub(crate) pid: Pid,
    /// Ends of its streams; what belongs to the terminal goes in and out by these as well.
    pub(crate) stdin: Option<File>,
    pub(crate) stdout: Option<File>,
    pub(crate) stderr: Option<File>,
    /// The terminal, for its size.
    pub(crate) pty: Option<File>,
}

/// Starts it.
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
    // SAFETY: between fork and exec only system calls are made, on values prepared before: no allocation, no lock.
    unsafe {
        command.pre_exec(move || {
            rustix::process::setsid()?;
            if let Some(terminal) = &controlling {
                rustix::process::ioctl_tiocsctty(terminal)?;
            }
            identity.take_on()
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
    // One reader of the terminal; it shows on stdout if that is the terminal, else on stderr, else nobody looks.
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

struct Pty {
    /// Our end.
    master: OwnedFd,
    /// The command's.
    command: OwnedFd,
}

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
        // The terminal outside echoes and turns "\n" into "\r\n" already.
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

/// Sets the terminal's size; its foreground process group is told by the kernel.
pub(crate) fn resize(pty: &File, size: WindowSize) {
    let _ = tcsetwinsize(pty, winsize(size));
}

/// What typing Ctrl-D does.
pub(crate) fn end_of_typing(pty: &File) {
    if let Ok(modes) = tcgetattr(pty) {
        let _ = rustix::io::write(pty, &[modes.special_codes[SpecialCodeIndex::VEOF]]);
    }
}

/// Who the command runs as: the user outside.
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

    /// In the new process, which has one thread.
    fn take_on(&self) -> io::Result<()> {
        rustix::process::umask(self.umask);
        rustix::thread::set_thread_groups(&self.groups)?;
        rustix::thread::set_thread_gid(self.gid)?;
        rustix::thread::set_thread_uid(self.uid)?;
        Ok(())
    }
}
