//! A new process, the cheap way: without copying the agent's page tables.
//!
//! `clone(CLONE_VM | CLONE_VFORK)` gives the child the agent's memory and holds the calling thread until the
//! child has a program of its own or has ended. In a guest without hardware help, copying page tables for a
//! fork costs more than all the rest. What the child may do meanwhile is little: system calls, and writing
//! its failure where the caller will look.
//!
//! Input: a [`Plan`].
//! Output: a process that runs, or the step that failed.
//! Not here: allocation, locks and panics between clone and exec.

use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::os::fd::{AsFd, BorrowedFd, FromRawFd, OwnedFd};
use std::ptr;

use rustix::io::Errno;
use rustix::process::{Pid, Resource, Rlimit};

use crate::{fds, oom, sys};

/// Bytes of the child's stack until it has a program of its own; it uses some hundred.
const STACK: usize = 64 * 1024;

/// Everything the child needs, as the kernel takes it.
pub(super) struct Plan<'a> {
    /// Programs to try, in this order.
    pub(super) candidates: &'a [CString],
    pub(super) argv: &'a [CString],
    pub(super) env: &'a [CString],
    pub(super) cwd: Option<&'a CStr>,
    /// Descriptors that become 0, 1 and 2. All are above 2, since the agent's own are open.
    pub(super) stdio: [BorrowedFd<'a>; 3],
    /// What becomes its controlling terminal, in a session of its own.
    pub(super) terminal: Option<BorrowedFd<'a>>,
}

/// A process that runs, the leader of its own process group.
#[derive(Debug)]
pub(super) struct Spawned {
    pub(super) pid: Pid,
    /// Readable when the process has ended.
    pub(super) pidfd: OwnedFd,
}

/// The step that failed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum SpawnError {
    Fork(Errno),
    SetUp(Errno),
    Cwd(Errno),
    /// No candidate could be executed; the error is that of the one that came closest.
    Exec(Errno),
}

/// What caller and child share while the child borrows the caller's memory.
struct SpawnContext<'a> {
    plan: &'a Plan<'a>,
    argv: Vec<*const c_char>,
    env: Vec<*const c_char>,
    /// The limit on open files, where it is not the agent's own.
    files: Option<Rlimit>,
    error: Option<SpawnError>,
}

/// Starts a program.
pub(super) fn spawn(plan: &Plan<'_>) -> Result<Spawned, SpawnError> {
    let mut shared = SpawnContext {
        plan,
        argv: pointers(plan.argv),
        env: pointers(plan.env),
        files: fds::limit_of_programs(),
        error: None,
    };
    // Left as it comes from the allocator: most of it is never touched.
    let mut stack: Vec<u128> = Vec::with_capacity(STACK / size_of::<u128>());
    let mut pidfd: c_int = -1;
    let flags = libc::CLONE_VM | libc::CLONE_VFORK | libc::CLONE_PIDFD | libc::SIGCHLD;
    // SAFETY: CLONE_VFORK keeps this thread here until the child has executed a program or ended, so the
    // stack, `shared` and all it points at outlive the child's use of them, and nothing here touches them
    // meanwhile. The stack pointer is the aligned end of memory that only the child uses. `child` never
    // returns into it.
    let pid = unsafe {
        libc::clone(
            child,
            stack.spare_capacity_mut().as_mut_ptr_range().end.cast(),
            flags,
            (&raw mut shared).cast(),
            &raw mut pidfd,
        )
    };
    let Some(pid) = Pid::from_raw(pid).filter(|_| pid > 0) else {
        return Err(SpawnError::Fork(sys::errno_of(&std::io::Error::last_os_error())));
    };
    // SAFETY: the kernel has just made this descriptor for us.
    let pidfd = unsafe { OwnedFd::from_raw_fd(pidfd) };
    let pidfd = fds::own(|| Ok(pidfd)).map_err(SpawnError::SetUp)?;
    match shared.error {
        None => Ok(Spawned { pid, pidfd }),
        Some(error) => {
            // It has ended already; only its exit status is left to be fetched.
            let _ = rustix::process::waitpid(Some(pid), rustix::process::WaitOptions::empty());
            Err(error)
        }
    }
}

/// Pointers to the strings and the null that ends them. The strings must outlive their use.
fn pointers(strings: &[CString]) -> Vec<*const c_char> {
    strings
        .iter()
        .map(|string| string.as_ptr())
        .chain([ptr::null()])
        .collect()
}

/// The child's life before its program.
extern "C" fn child(shared: *mut c_void) -> c_int {
    // SAFETY: `spawn` passed a `SpawnContext` that it does not touch while the child runs here.
    let shared = unsafe { &mut *shared.cast::<SpawnContext<'_>>() };
    shared.error = Some(match set_up(shared.plan, shared.files.take()) {
        Ok(()) => execute(shared),
        Err(error) => error,
    });
    sys::exit_at_once(127)
}

fn set_up(plan: &Plan<'_>, files: Option<Rlimit>) -> Result<(), SpawnError> {
    let [stdin, stdout, stderr] = plan.stdio;
    oom::expose();
    let group = match plan.terminal {
        // A new session has a new process group of the same number.
        Some(terminal) => rustix::process::setsid().and_then(|_| rustix::process::ioctl_tiocsctty(terminal)),
        None => rustix::process::setpgid(None, None),
    };
    group
        .and_then(|()| rustix::stdio::dup2_stdin(stdin.as_fd()))
        .and_then(|()| rustix::stdio::dup2_stdout(stdout.as_fd()))
        .and_then(|()| rustix::stdio::dup2_stderr(stderr.as_fd()))
        .map_err(SpawnError::SetUp)?;
    if let Some(files) = files {
        rustix::process::setrlimit(Resource::Nofile, files).map_err(SpawnError::SetUp)?;
    }
    // SAFETY: dispositions are the child's own (no CLONE_SIGHAND), and so is the mask; `set` is initialised
    // by sigemptyset. The agent ignores SIGPIPE and blocks nothing, which a program must not inherit.
    unsafe {
        let mut set = std::mem::zeroed();
        libc::sigemptyset(&mut set);
        libc::sigprocmask(libc::SIG_SETMASK, &set, ptr::null_mut());
        libc::signal(libc::SIGPIPE, libc::SIG_DFL);
    }
    plan.cwd
        .map_or(Ok(()), |cwd| rustix::process::chdir(cwd).map_err(SpawnError::Cwd))
}

/// Tries the candidates as `execvp` does: one that is not there leads to the next, so does one that may not
/// be executed, which is then what is told; anything else ends the search.
fn execute(shared: &SpawnContext<'_>) -> SpawnError {
    let mut worst = Errno::NOENT;
    for candidate in shared.plan.candidates {
        // SAFETY: all three are null-terminated and outlive the call.
        unsafe { libc::execve(candidate.as_ptr(), shared.argv.as_ptr(), shared.env.as_ptr()) };
        // SAFETY: errno's address is valid; the thread it belongs to waits for this child.
        match Errno::from_raw_os_error(unsafe { *libc::__errno_location() }) {
            Errno::NOENT | Errno::NOTDIR | Errno::NODEV | Errno::STALE | Errno::TIMEDOUT
                if shared.plan.candidates.len() > 1 => {}
            Errno::ACCESS => worst = Errno::ACCESS,
            other => return SpawnError::Exec(other),
        }
    }
    SpawnError::Exec(worst)
}
