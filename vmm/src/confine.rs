//! What the threads of a machine may ask of the host's kernel: a second line behind the checks of devices.
//!
//! Input: the thread that calls, before its guest has run an instruction. Output: a seccomp filter on it; a
//! call that is not on its list is not made, and is noted with its name. Not here: what ends the machine then
//! (`machine/supervisor.rs`).
//!
//! Threads share their process's memory and descriptors, so a filter is no wall between guests. It keeps code
//! that a guest has taken over from what it would need next: programs, files, sockets, other processes.
//!
//! Lists have no conditions on arguments: the kernel then knows the answer without running the filter, and an
//! exit of a guest costs what it did.

use std::cell::OnceCell;
use std::collections::BTreeMap;
use std::ffi::c_void;
use std::io;
use std::os::fd::RawFd;
use std::sync::atomic::{AtomicI32, Ordering};
use std::sync::{Arc, OnceLock};

use seccompiler::{BpfProgram, SeccompAction, SeccompFilter, TargetArch};
use vmm_sys_util::signal::register_signal_handler;

use crate::helper;

/// A thread's work, and with it its list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ThreadWork {
    /// Runs a vCPU, and devices that have no thread of their own.
    Vcpu,
    /// The same where folders of the host are shared with the guest, whose server is one of those devices.
    VcpuWithShares,
    /// Serves a disk.
    Disk,
    /// Waits for what happens outside of vCPUs.
    Supervisor,
}

/// What every thread needs: memory, locks, the clock, its end, and what signals do to it.
const ALL: &[i64] = &[
    libc::SYS_brk,
    libc::SYS_clock_gettime,
    libc::SYS_clock_nanosleep,
    libc::SYS_close,
    libc::SYS_exit,
    libc::SYS_exit_group,
    libc::SYS_futex,
    libc::SYS_getpid,
    libc::SYS_gettid,
    libc::SYS_madvise,
    libc::SYS_mmap,
    libc::SYS_mprotect,
    libc::SYS_mremap,
    libc::SYS_munmap,
    libc::SYS_nanosleep,
    libc::SYS_restart_syscall,
    libc::SYS_rseq,
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_sched_getaffinity,
    libc::SYS_sched_yield,
    libc::SYS_set_robust_list,
    libc::SYS_sigaltstack,
    // Of event counters, stderr and the console's log; each needs a descriptor that is open.
    libc::SYS_read,
    libc::SYS_write,
    libc::SYS_writev,
    // Whether a snapshot's file has been cut.
    libc::SYS_fstat,
    libc::SYS_newfstatat,
    libc::SYS_statx,
    // A vCPU is kicked, and a command of a test that fails for a splat is ended.
    libc::SYS_kill,
    libc::SYS_tgkill,
    libc::SYS_getrandom,
];

const VCPU: &[i64] = &[libc::SYS_ioctl];

/// What the server of shared folders asks for, which opens each path anew.
const SHARES: &[i64] = &[
    libc::SYS_ioctl,
    libc::SYS_fallocate,
    libc::SYS_fchmod,
    libc::SYS_fchmodat,
    libc::SYS_fchownat,
    libc::SYS_fcntl,
    libc::SYS_fdatasync,
    libc::SYS_fstatfs,
    libc::SYS_fsync,
    libc::SYS_ftruncate,
    libc::SYS_getdents64,
    libc::SYS_linkat,
    libc::SYS_lseek,
    libc::SYS_mkdirat,
    libc::SYS_mknodat,
    libc::SYS_openat,
    libc::SYS_openat2,
    // To be confined further.
    libc::SYS_prctl,
    libc::SYS_seccomp,
    libc::SYS_pread64,
    libc::SYS_pwrite64,
    libc::SYS_readlinkat,
    libc::SYS_renameat2,
    libc::SYS_statfs,
    libc::SYS_symlinkat,
    libc::SYS_unlinkat,
    libc::SYS_utimensat,
];

const DISK: &[i64] = &[
    libc::SYS_fallocate,
    libc::SYS_fdatasync,
    libc::SYS_fsync,
    libc::SYS_ftruncate,
    libc::SYS_ioctl,
    libc::SYS_lseek,
    libc::SYS_pread64,
    libc::SYS_pwrite64,
];

const SUPERVISOR: &[i64] = &[
    libc::SYS_epoll_ctl,
    libc::SYS_epoll_pwait,
    libc::SYS_epoll_wait,
    libc::SYS_ioctl,
    libc::SYS_timerfd_settime,
];

impl ThreadWork {
    fn filter(self) -> Result<&'static BpfProgram, String> {
        static FILTERS: [OnceLock<Result<BpfProgram, String>>; 4] = [const { OnceLock::new() }; 4];
        let own = match self {
            ThreadWork::Vcpu => VCPU,
            ThreadWork::VcpuWithShares => SHARES,
            ThreadWork::Disk => DISK,
            ThreadWork::Supervisor => SUPERVISOR,
        };
        let filter = FILTERS[self as usize].get_or_init(|| {
            let rules: BTreeMap<_, _> = ALL.iter().chain(own).map(|call| (*call, Vec::new())).collect();
            let filter = SeccompFilter::new(
                rules,
                SeccompAction::Trap,
                SeccompAction::Allow,
                TargetArch::x86_64,
            );
            let program = filter.and_then(BpfProgram::try_from);
            program.map_err(|error| error.to_string())
        });
        filter.as_ref().map_err(Clone::clone)
    }
}

/// The first call of a machine's threads that was refused.
#[derive(Debug, Default)]
pub(crate) struct Refusal {
    /// Its number and 1; 0 while there is none.
    call: AtomicI32,
}

impl Refusal {
    /// Name of the call that was refused, if one was.
    pub(crate) fn call(&self) -> Option<String> {
        let number = self
            .call
            .load(Ordering::Acquire)
            .checked_sub(1)
            .filter(|number| *number >= 0)?;
        let known = usize::try_from(number).ok().and_then(syscalls::Sysno::new);
        Some(known.map_or_else(|| format!("number {number}"), |known| known.name().to_owned()))
    }
}

thread_local! {
    /// Whom the handler tells of a refusal on its thread.
    static TOLD: OnceCell<(Arc<Refusal>, RawFd)> = const { OnceCell::new() };
}

/// Confines the calling thread to what its work needs, for good; done again, to what both lists have.
/// `refusal` notes the first call that it does not need, and the event counter `wake` is raised then, which
/// has to be open for as long as the thread runs.
///
/// # Errors
/// When the kernel has no such filters, or the handler cannot be installed.
pub(crate) fn confine(work: ThreadWork, refusal: &Arc<Refusal>, wake: RawFd) -> io::Result<()> {
    static INSTALLED: OnceLock<Result<(), i32>> = OnceLock::new();
    let installed = INSTALLED
        .get_or_init(|| register_signal_handler(libc::SIGSYS, on_refusal).map_err(|error| error.errno()));
    installed.map_err(io::Error::from_raw_os_error)?;
    helper::start()?;
    TOLD.with(|told| _ = told.set((Arc::clone(refusal), wake)));
    seccompiler::apply_filter(work.filter().map_err(io::Error::other)?).map_err(io::Error::other)
}

/// Whether this is a file that the C library's allocator looks at, once, and can do without: the number of
/// processors, and whether memory may be overcommitted.
///
/// # Safety
/// `path` has to be a C string.
unsafe fn is_the_c_librarys(path: *const libc::c_char) -> bool {
    [
        c"/sys/devices/system/cpu/online",
        c"/proc/stat",
        c"/proc/sys/vm/overcommit_memory",
    ]
    .iter()
    // SAFETY: two C strings.
    .any(|known| unsafe { libc::strcmp(known.as_ptr(), path) } == 0)
}

extern "C" fn on_refusal(_: libc::c_int, info: *mut libc::siginfo_t, context: *mut c_void) {
    let context = context.cast::<libc::ucontext_t>();
    // SAFETY: the kernel hands the handler a valid context of the thread that it interrupted.
    let registers = unsafe { &mut (*context).uc_mcontext.gregs };
    // SAFETY: for SIGSYS the kernel fills `_call_addr`, `_syscall` and `_arch` behind the three common words.
    let call = unsafe { *info.cast::<i32>().add(6) };
    registers[libc::REG_RAX as usize] = i64::from(-libc::EPERM);
    let path = registers[libc::REG_RSI as usize] as *const libc::c_char;
    // SAFETY: of a file that is opened by this process the second argument is its path.
    let harmless = i64::from(call) == libc::SYS_openat && unsafe { is_the_c_librarys(path) };
    if harmless || std::thread::panicking() {
        return; // a panic says itself what is wrong, and looks for symbols
    }
    // It was set before the filter was there; at the thread's very end it is gone.
    let _ = TOLD.try_with(|told| {
        let Some((refusal, wake)) = told.get() else { return };
        let first = refusal
            .call
            .compare_exchange(0, call + 1, Ordering::AcqRel, Ordering::Relaxed);
        if first.is_ok() {
            let one = 1u64.to_ne_bytes();
            // SAFETY: reads eight bytes that are there.
            unsafe { libc::write(*wake, one.as_ptr().cast(), one.len()) };
        }
    });
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsRawFd;

    use vmm_sys_util::eventfd::EventFd;

    use super::*;

    fn on_a_thread(work: ThreadWork, act: impl FnOnce() + Send) -> Option<String> {
        let (refusal, wake) = (
            Arc::new(Refusal::default()),
            EventFd::new(libc::EFD_NONBLOCK).unwrap(),
        );
        std::thread::scope(|scope| {
            scope.spawn(|| {
                confine(work, &refusal, wake.as_raw_fd()).unwrap();
                act();
            });
        });
        let call = refusal.call();
        assert_eq!(wake.read().is_ok(), call.is_some());
        call
    }

    #[test]
    fn what_a_thread_does_not_need_is_refused_and_named() {
        for work in [ThreadWork::Vcpu, ThreadWork::Disk, ThreadWork::Supervisor] {
            let file = std::env::current_exe().unwrap();
            let opened = on_a_thread(work, || {
                let error = std::fs::File::open(file).unwrap_err();
                assert_eq!(error.kind(), io::ErrorKind::PermissionDenied);
            });
            assert_eq!(opened.as_deref(), Some("openat"), "{work:?}");
            let connected = on_a_thread(work, || {
                drop(std::net::UdpSocket::bind("127.0.0.1:0").unwrap_err())
            });
            assert_eq!(connected.as_deref(), Some("socket"), "{work:?}");
            let started = on_a_thread(work, || {
                // SAFETY: takes no argument and is not made.
                assert_eq!(unsafe { libc::fork() }, -1);
            });
            assert_eq!(started.as_deref(), Some("clone"), "{work:?}");
        }
    }

    #[test]
    fn a_vcpu_that_turns_out_to_have_no_shared_folders_may_open_nothing_any_more() {
        let (refusal, wake) = (
            Arc::new(Refusal::default()),
            EventFd::new(libc::EFD_NONBLOCK).unwrap(),
        );
        let file = std::env::current_exe().unwrap();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                confine(ThreadWork::VcpuWithShares, &refusal, wake.as_raw_fd()).unwrap();
                std::fs::File::open(&file).unwrap();
                confine(ThreadWork::Vcpu, &refusal, wake.as_raw_fd()).unwrap();
                assert_eq!(refusal.call(), None);
                std::fs::File::open(&file).unwrap_err();
            });
        });
        assert_eq!(refusal.call().as_deref(), Some("openat"));
    }

    #[test]
    fn what_a_thread_does_is_not_refused() {
        for work in [ThreadWork::Vcpu, ThreadWork::Disk, ThreadWork::Supervisor] {
            let refused = on_a_thread(work, || {
                let all: Vec<Vec<u8>> = (0..64).map(|step| vec![1; step << 16]).collect();
                std::thread::sleep(std::time::Duration::from_millis(1));
                rustix::rand::getrandom(&mut [0u8; 8][..], rustix::rand::GetRandomFlags::empty()).unwrap();
                drop(all);
            });
            assert_eq!(refused, None, "{work:?}");
        }
        let file = std::env::current_exe().unwrap();
        let opened = on_a_thread(ThreadWork::VcpuWithShares, || {
            drop(std::fs::File::open(file).unwrap())
        });
        assert_eq!(opened, None);
        let file = tempfile::tempfile().unwrap();
        let refused = on_a_thread(ThreadWork::Disk, || {
            use std::os::unix::fs::FileExt;
            file.write_all_at(b"1", 7).unwrap();
            file.sync_data().unwrap();
            file.set_len(3).unwrap();
            file.read_exact_at(&mut [0; 3], 0).unwrap();
        });
        assert_eq!(refused, None);
    }
}
