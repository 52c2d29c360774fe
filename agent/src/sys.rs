//! System calls that rustix has no safe form for, one function each.
//!
//! Input: plain values.
//! Output: results with the error number.
//! Not here: decisions. What is called when, and what an error means, is the callers'.

use std::ffi::{CStr, c_void};
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd, RawFd};

use rustix::io::Errno;
use rustix::process::{Pid, Signal};

/// The error number in an error of std; `EIO` for one that did not come from the kernel.
pub(crate) fn errno_of(error: &std::io::Error) -> Errno {
    Errno::from_io_error(error).unwrap_or(Errno::IO)
}

fn last_error() -> Errno {
    errno_of(&std::io::Error::last_os_error())
}

/// The result of a call that returns 0 or -1.
fn done(result: libc::c_int) -> Result<(), Errno> {
    match result {
        0 => Ok(()),
        _ => Err(last_error()),
    }
}

/// `fork`; `None` in the child.
///
/// # Safety
/// The child must use no lock that another thread may hold at this moment: it does not have that thread.
/// Those of the C library are taken care of.
pub(crate) unsafe fn fork() -> Result<Option<Pid>, Errno> {
    // SAFETY: the caller upholds that the child needs no lock of another thread.
    match unsafe { libc::fork() } {
        -1 => Err(last_error()),
        pid => Ok(Pid::from_raw(pid)),
    }
}

/// `_exit`: ends this process without running what it has registered for its exit.
pub(crate) fn exit_at_once(status: i32) -> ! {
    // SAFETY: the call does not return and runs no code of this process.
    unsafe { libc::_exit(status) }
}

/// `exit`: ends the calling thread alone, as the kernel would.
#[cfg(test)]
pub(crate) fn end_this_thread(status: i32) -> ! {
    // SAFETY: the stack of a thread that does not return from here is never freed, so that what others borrow
    // of it stays.
    unsafe { libc::syscall(libc::SYS_exit, status) };
    unreachable!("the call does not return")
}

/// `kill`: sends a signal by its number to a process, or, with a negative number, to a process group; with
/// -1, to every process but PID 1 and this one. Signal 0 only looks.
pub(crate) fn kill(pid: i32, signal: i32) -> Result<(), Errno> {
    // SAFETY: kill has no memory effects here.
    done(unsafe { libc::kill(pid, signal) })
}

/// `finit_module`: loads a kernel module, without parameters.
pub(crate) fn finit_module(module: &impl AsFd) -> Result<(), Errno> {
    let module = module.as_fd().as_raw_fd();
    // SAFETY: the descriptor is open and the parameters are a string with its NUL; the kernel reads both.
    let result = unsafe { libc::syscall(libc::SYS_finit_module, module, c"".as_ptr(), 0) };
    if result == 0 { Ok(()) } else { Err(last_error()) }
}

/// `signal(SIGPIPE, SIG_IGN)`: a write to a closed pipe or socket is an error from here on, not the end of
/// the process.
pub(crate) fn ignore_sigpipe() {
    // SAFETY: SIG_IGN is a valid disposition and runs no code.
    unsafe { libc::signal(libc::SIGPIPE, libc::SIG_IGN) };
}

/// `sigprocmask(SIG_BLOCK)`.
pub(crate) fn block_signals(signals: &[Signal]) -> Result<(), Errno> {
    let set = signal_set(signals);
    // SAFETY: the set is initialised and lives until the call returns; the old mask is not asked for.
    done(unsafe { libc::sigprocmask(libc::SIG_BLOCK, &set, std::ptr::null_mut()) })
}

/// `signalfd`: a descriptor that reports the signals and does not block.
pub(crate) fn signalfd(signals: &[Signal]) -> Result<OwnedFd, Errno> {
    let set = signal_set(signals);
    // SAFETY: the set is initialised and lives until the call returns; the descriptor is new and owned by
    // nobody.
    unsafe {
        match libc::signalfd(-1, &set, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK) {
            -1 => Err(last_error()),
            fd => Ok(OwnedFd::from_raw_fd(fd)),
        }
    }
}

fn signal_set(signals: &[Signal]) -> libc::sigset_t {
    // SAFETY: a set of zeros is valid memory for sigemptyset, which initialises it; sigaddset only writes to
    // it.
    unsafe {
        let mut set = std::mem::zeroed();
        libc::sigemptyset(&mut set);
        for signal in signals {
            libc::sigaddset(&mut set, signal.as_raw());
        }
        set
    }
}

/// `ioctl(SIOCSIFFLAGS)`: sets the flags of the network interface of this name; longer names than an
/// interface can have are cut. The socket may be any of an internet family.
pub(crate) fn set_interface_flags(socket: impl AsFd, name: &CStr, flags: libc::c_int) -> Result<(), Errno> {
    // SAFETY: an all-zero ifreq is valid; the name leaves at least one zero at its end; the ioctl only reads
    // it.
    unsafe {
        let mut request: libc::ifreq = std::mem::zeroed();
        let room = request.ifr_name.len() - 1;
        for (to, from) in request.ifr_name[..room].iter_mut().zip(name.to_bytes()) {
            *to = from.cast_signed();
        }
        request.ifr_ifru.ifru_flags = flags as libc::c_short;
        done(libc::ioctl(
            socket.as_fd().as_raw_fd(),
            libc::SIOCSIFFLAGS,
            &request,
        ))
    }
}

/// `ioctl(RNDRESEEDCRNG)` of `linux/random.h`: the kernel's random number generator starts anew from its
/// pool.
pub(crate) fn reseed_random(random: impl AsFd) -> Result<(), Errno> {
    const RNDRESEEDCRNG: libc::c_ulong = 0x5207;
    // SAFETY: the request takes no argument and touches no memory of this process.
    done(unsafe { libc::ioctl(random.as_fd().as_raw_fd(), RNDRESEEDCRNG) })
}

/// `set_robust_list`: the locks that the kernel marks as orphaned when the calling thread ends. `length` is
/// that of the list's head.
///
/// # Safety
/// The head and the locks of its list must be what the kernel takes them for, or null, until the thread has
/// ended or the list is another.
pub(crate) unsafe fn set_robust_list(head: *const c_void, length: usize) -> Result<(), Errno> {
    // SAFETY: the caller upholds that the kernel finds a list there.
    match unsafe { libc::syscall(libc::SYS_set_robust_list, head, length) } {
        0 => Ok(()),
        _ => Err(last_error()),
    }
}

/// `close` of a descriptor by its number.
///
/// # Safety
/// No owner of the number may use it after this; one that is not open is no danger, only an error.
pub(crate) unsafe fn close(fd: RawFd) -> Result<(), Errno> {
    // SAFETY: the caller upholds that nothing relies on the number any more.
    done(unsafe { libc::close(fd) })
}

/// `close_range` of all descriptors from `first` to `last`; `ENOSYS` before Linux 5.9.
///
/// # Safety
/// No owner of a number in the range may use it after this.
pub(crate) unsafe fn close_range(first: RawFd, last: RawFd) -> Result<(), Errno> {
    // SAFETY: the caller upholds that nothing relies on these numbers any more.
    match unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) } {
        0 => Ok(()),
        _ => Err(last_error()),
    }
}
