//! The few calls of the C library that rustix has no safe form for.
//!
//! Enters: plain values. Leaves: results with the error number. Absent on purpose: anything that decides.

use std::os::fd::{FromRawFd, OwnedFd};

use rustix::io::Errno;
use rustix::process::{Pid, Signal};

fn last_error() -> Errno {
    Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::IO)
}

/// Forks; `None` in the child.
///
/// # Safety
/// The child must use no lock that another thread may hold at this moment: it does not have that thread. Those of the C
/// library are taken care of.
pub(crate) unsafe fn fork() -> Result<Option<Pid>, Errno> {
    // SAFETY: the caller upholds that the child needs no lock of another thread.
    match unsafe { libc::fork() } {
        -1 => Err(last_error()),
        pid => Ok(Pid::from_raw(pid)),
    }
}

/// Sends a signal to every process but PID 1 and this one.
pub(crate) fn signal_everyone(signal: Signal) {
    // SAFETY: kill has no memory effects here. That there is nobody to signal is no failure.
    unsafe { libc::kill(-1, signal.as_raw()) };
}

/// A write to a closed pipe or socket is an error from here on, not the end of the process.
pub(crate) fn ignore_sigpipe() {
    // SAFETY: SIG_IGN is a valid disposition and runs no code.
    unsafe { libc::signal(libc::SIGPIPE, libc::SIG_IGN) };
}

/// Blocks the signals and returns a descriptor that reports them.
pub(crate) fn signal_descriptor(signals: &[Signal]) -> Result<OwnedFd, Errno> {
    // SAFETY: `set` is initialised by sigemptyset before it is read; the descriptor is new and owned by nobody.
    unsafe {
        let mut set = std::mem::zeroed();
        libc::sigemptyset(&mut set);
        for signal in signals {
            libc::sigaddset(&mut set, signal.as_raw());
        }
        if libc::sigprocmask(libc::SIG_BLOCK, &set, std::ptr::null_mut()) != 0 {
            return Err(last_error());
        }
        match libc::signalfd(-1, &set, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK) {
            -1 => Err(last_error()),
            fd => Ok(OwnedFd::from_raw_fd(fd)),
        }
    }
}

/// Brings up the network interface `lo`; the kernel gives it its address.
pub(crate) fn loopback_up() -> Result<(), Errno> {
    use rustix::fd::AsRawFd;
    use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};
    let socket = socket_with(AddressFamily::INET, SocketType::DGRAM, SocketFlags::CLOEXEC, None)?;
    // SAFETY: an all-zero ifreq is valid; the name is two bytes in sixteen; the ioctl only reads it.
    unsafe {
        let mut request: libc::ifreq = std::mem::zeroed();
        request.ifr_name[0] = b'l' as libc::c_char;
        request.ifr_name[1] = b'o' as libc::c_char;
        request.ifr_ifru.ifru_flags = (libc::IFF_UP | libc::IFF_RUNNING) as libc::c_short;
        match libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS, &request) {
            0 => Ok(()),
            _ => Err(last_error()),
        }
    }
}

/// Makes the kernel's random number generator start anew from its pool (`RNDRESEEDCRNG` of `linux/random.h`).
pub(crate) fn reseed_random(random: &std::fs::File) -> Result<(), Errno> {
    use std::os::fd::AsRawFd;
    const RNDRESEEDCRNG: libc::c_ulong = 0x5207;
    // SAFETY: the request takes no argument and touches no memory of this process.
    match unsafe { libc::ioctl(random.as_raw_fd(), RNDRESEEDCRNG) } {
        0 => Ok(()),
        _ => Err(last_error()),
    }
}

/// Sends a signal by its number to a process, or, by a negative one, to a process group. Signal 0 only looks.
pub(crate) fn kill(pid: i32, signal: i32) -> Result<(), Errno> {
    // SAFETY: kill has no memory effects here.
    match unsafe { libc::kill(pid, signal) } {
        0 => Ok(()),
        _ => Err(last_error()),
    }
}

/// A length of time as the kernel takes it.
pub(crate) fn timespec(time: std::time::Duration) -> rustix::event::Timespec {
    rustix::event::Timespec {
        tv_sec: time.as_secs().cast_signed(),
        tv_nsec: time.subsec_nanos().into(),
    }
}

/// Closes all descriptors from `first` on but those of `kept`.
pub(crate) fn close_from(first: i32, kept: &[i32]) {
    let mut kept: Vec<i32> = kept.iter().copied().filter(|fd| *fd >= first).collect();
    kept.sort_unstable();
    let mut from = first;
    for fd in kept.into_iter().map(Some).chain([None]) {
        let to = fd.map_or(i32::MAX, |fd| fd - 1);
        if from <= to {
            close_range(from, to);
        }
        from = fd.map_or(to, |fd| fd + 1);
    }
}

fn close_range(from: i32, to: i32) {
    // SAFETY: who calls this has given up what is in the range; a number that is not open is no failure.
    unsafe {
        if libc::syscall(libc::SYS_close_range, from, to, 0) == 0 {
            return;
        }
        // A kernel before 5.9: there is nothing beyond the limit on their number.
        let most = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
        let most = most.and_then(|most| i32::try_from(most).ok()).unwrap_or(i32::MAX);
        for fd in from..to.saturating_add(1).min(most) {
            libc::close(fd);
        }
    }
}

/// Whether a process group has a member that runs. One that has ended belongs to its group until its parent has waited
/// for it, which may be never; it takes a look at `/proc` to tell.
pub(crate) fn group_runs(group: i32) -> bool {
    if kill(-group, 0).is_err() {
        return false;
    }
    let Ok(processes) = std::fs::read_dir("/proc") else {
        return true;
    };
    let stats = processes
        .flatten()
        .filter_map(|entry| std::fs::read_to_string(entry.path().join("stat")).ok());
    let mut groups = stats.filter_map(|stat| running_group(&stat)).peekable();
    // Without itself in it, it is no `/proc`.
    groups.peek().is_none() || groups.any(|of| of == group)
}

/// The process group in a line of `/proc/PID/stat`, if the process has not ended. Its name may be anything, blanks and
/// brackets included.
fn running_group(stat: &str) -> Option<i32> {
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
    let state = fields.next()?;
    (!matches!(state, "Z" | "X")).then(|| fields.nth(1)?.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_those_that_run_count() {
        assert_eq!(running_group("12 (a) b) S 1 77 12 0"), Some(77));
        assert_eq!(running_group("12 (x) Z 1 77 12 0"), None);
        assert_eq!(running_group("12 (x"), None);
    }

    #[test]
    fn a_group_runs_while_a_member_does() {
        use std::os::unix::process::CommandExt;
        let mut command = std::process::Command::new("sleep");
        let mut child = command.arg("1000").process_group(0).spawn().expect("a process");
        let group = child.id().cast_signed();
        assert!(group_runs(group));
        child.kill().expect("killed");
        let start = std::time::Instant::now();
        while group_runs(group) {
            assert!(
                start.elapsed().as_secs() < 60,
                "it has ended, though nobody has waited for it"
            );
        }
        assert!(kill(-group, 0).is_ok(), "the group is still there");
        child.wait().expect("its status");
    }
}
