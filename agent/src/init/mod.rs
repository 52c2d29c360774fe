//! The first process of the guest: `rdinit=/.provium/agent`.
//!
//! Input: a kernel that has just unpacked its initramfs.
//! Output: the agent as a process of its own, and as PID 1 either the init the user's initrd came with, as if
//! the kernel had started it, or the reaper. Before any of that, modules for it are loaded (`modules`), a
//! profile's `rootfs` becomes the root (`rootfs`), and shared folders are mounted (`shares`).
//! Not here: any other root disk; whoever has one brings the init that mounts it.

mod cmdline;
mod modules;
mod mounts;
mod reaper;
mod rootfs;
mod shares;

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStringExt;
use std::os::unix::process::CommandExt;
use std::process::Command;

use rustix::fd::OwnedFd;
use rustix::fs::{Access, CWD, FileType, Mode, OFlags};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::Pid;

use crate::console::say;
use crate::failure::errno_text;
use crate::root::{self, InitRoot};
use crate::sys::errno_of;
use crate::{daemon, sys};

/// Path at which an initrd's own init is looked for, as the kernel does.
const INIT: &str = "/init";

/// The life of PID 1.
///
/// The agent is started as early as can be, so that its hello is on the way while the rest is done here; it
/// waits for the end of that before it does what the host asks for.
pub fn run() -> ! {
    if !has_console() {
        mounts::mount(&mounts::DEV);
        open_console();
    }
    mounts::mount(&mounts::PROC);
    modules::load();
    let cmdline = std::fs::read("/proc/cmdline").unwrap_or_default();
    let has_root = match mount_all(&cmdline) {
        Ok(has_root) => has_root,
        Err(why) => {
            say!("{why}");
            std::process::exit(1);
        }
    };
    let init = foreign_init(&cmdline, has_root);
    let proc = open_proc(init.is_some());
    let followed = proc.as_ref().filter(|_| init.is_some()).and_then(follow_init);
    let (wait, done) = match pipe_with(PipeFlags::CLOEXEC) {
        Ok((wait, done)) => (Some(wait), Some(done)),
        Err(_) => (None, None),
    };
    // SAFETY: PID 1 has started no threads.
    let agent = match unsafe { sys::fork() } {
        Ok(Some(agent)) => agent,
        Ok(None) => {
            drop(done);
            daemon::run(followed, proc, wait, init.is_none())
        }
        Err(error) => panic_kernel("the agent".as_ref(), &errno_text(error)),
    };
    drop((wait, followed, proc));
    match init {
        Some(init) => hand_over(init, done),
        None => stay(agent, done),
    }
}

/// Mounts what the host gives the guest: its root, and shared folders; whether it has another root.
fn mount_all(cmdline: &[u8]) -> Result<bool, String> {
    let cannot = |why: String| format!("cannot mount the shared folders: {why}");
    // First, since what is to be mounted is said in the initramfs.
    let shares = shares::mount().map_err(cannot)?;
    let on_disk = cmdline::wants_rootfs(cmdline);
    if on_disk {
        rootfs::enter().map_err(|why| format!("cannot make the disk `rootfs` the root: {why}"))?;
    }
    let shared = shares.enter_root().map_err(cannot)?;
    if !on_disk && !shared {
        rootfs::stay().map_err(|error| format!("cannot put files into the initramfs: {error}"))?;
    }
    shares.attach().map_err(cannot)?;
    Ok(on_disk || shared)
}

/// Becomes the initrd's init. The agent may begin when `done` is closed.
fn hand_over(init: OsString, done: Option<OwnedFd>) -> ! {
    mounts::mount(&mounts::SYS);
    mounts::mount(&mounts::DEV);
    drop(done);
    // Arguments and environment are those the kernel gave.
    let error = Command::new(&init).args(std::env::args_os().skip(1)).exec();
    panic_kernel(&init, &errno_text(errno_of(&error)))
}

/// Stays PID 1. The agent may begin when `done` is closed.
fn stay(agent: Pid, done: Option<OwnedFd>) -> ! {
    // First, because the kernel waits in it, and the agent runs meanwhile.
    let _ = raise_loopback();
    mounts::mount(&mounts::SYS);
    mounts::mount(&mounts::DEV);
    mounts::mount(&mounts::WITHOUT_INIT);
    mounts::finish();
    // Before any request is answered: whoever has an answer may press the button.
    let ends = reaper::listen();
    drop(done);
    reaper::run(agent, ends)
}

/// Brings up the network interface `lo`; the kernel gives it its address.
fn raise_loopback() -> Result<(), Errno> {
    let socket = socket_with(AddressFamily::INET, SocketType::DGRAM, SocketFlags::CLOEXEC, None)?;
    sys::set_interface_flags(&socket, c"lo", libc::IFF_UP | libc::IFF_RUNNING)
}

/// A proc file system for the agent to look at. With an init to come it is one of the agent's own, which
/// stays whatever that init does with `/proc`, and does not keep it from unmounting that.
fn open_proc(init_to_come: bool) -> Option<OwnedFd> {
    let own = init_to_come.then(|| root::detached_proc().ok()).flatten();
    own.or_else(|| root::open_proc(c"/proc").ok())
}

/// The root of a PID 1 that may change it, for the agent to follow.
fn follow_init(proc: &OwnedFd) -> Option<InitRoot> {
    match rustix::io::fcntl_dupfd_cloexec(proc, 3).and_then(InitRoot::new) {
        Ok(root) => Some(root),
        Err(error) => {
            say!("cannot follow PID 1 to another root: {}", errno_text(error));
            None
        }
    }
}

/// Says why there is no PID 1 and ends it, at which the kernel panics: the monitor sees a boot that failed,
/// with the reason among the last lines of its console.
fn panic_kernel(what: &OsStr, why: &str) -> ! {
    say!("cannot start `{}`: {why}", what.display());
    std::process::exit(1)
}

/// The init the initrd or the command line asks for. With a root disk, only the command line is listened to:
/// a disk has an init in any case, and services nobody asked for.
fn foreign_init(cmdline: &[u8], has_root: bool) -> Option<OsString> {
    match cmdline::init(cmdline) {
        // Looked at before the agent says hello: a boot that cannot succeed must not look like one that does.
        Some(path) => {
            let path = OsString::from_vec(path);
            match rustix::fs::access(path.as_os_str(), Access::EXEC_OK) {
                Ok(()) => Some(path),
                Err(error) => panic_kernel(&path, &errno_text(error)),
            }
        }
        None => (!has_root && is_program(INIT)).then(|| INIT.into()),
    }
}

fn is_program(path: &str) -> bool {
    let file = rustix::fs::stat(path).is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode).is_file());
    file && rustix::fs::access(path, Access::EXEC_OK).is_ok()
}

/// Whether the kernel has opened the console for PID 1.
fn has_console() -> bool {
    rustix::io::fcntl_getfd(rustix::stdio::stderr()) != Err(Errno::BADF)
}

/// Gives descriptors 0 to 2 to the console where the kernel could not: its own archive may lack the device
/// node.
fn open_console() {
    let open = |path| rustix::fs::openat(CWD, path, OFlags::RDWR | OFlags::NOCTTY, Mode::empty());
    let Ok(console) = open(c"/dev/console").or_else(|_| open(c"/dev/null")) else {
        return;
    };
    let _ = rustix::stdio::dup2_stdin(&console);
    let _ = rustix::stdio::dup2_stdout(&console);
    let _ = rustix::stdio::dup2_stderr(&console);
    keep_if_stdio(console);
}

/// The new descriptor is one of the three itself when those were closed; it must not be closed again then.
fn keep_if_stdio(console: OwnedFd) {
    use std::os::fd::{AsRawFd, IntoRawFd};
    if console.as_raw_fd() <= 2 {
        let _ = console.into_raw_fd();
    }
}
