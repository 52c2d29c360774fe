//! The end of the machine, in order.
//!
//! Processes get SIGTERM and two seconds, then SIGKILL; file systems are synced and those on block devices
//! unmounted or made read-only; then the kernel does the rest.
//!
//! Input: power off or restart.
//! Output: nothing returns from it.
//! Not here: stopping services one by one; what a test runs has no dependencies.

use std::time::{Duration, Instant};

use rustix::fd::OwnedFd;
use rustix::fs::{Access, Mode, OFlags};
use rustix::mount::{MountFlags, UnmountFlags};
use rustix::process::Signal;
use rustix::system::RebootCommand;

use crate::console::say;
use crate::sys;

/// How long processes have between SIGTERM and SIGKILL.
const TERM_GRACE: Duration = Duration::from_secs(2);
/// How long killed processes may take to be gone.
const KILL_GRACE: Duration = Duration::from_millis(500);

/// Ends the machine; `proc` is a proc file system. Without ACPI there is no power to cut, and the kernel
/// would halt for ever: it is restarted then, which the monitor takes as the end as well.
pub(crate) fn shut_down(proc: Option<&OwnedFd>, reboot: bool) -> ! {
    // What has been written to a socket is still on its way; an idle moment lets it go.
    std::thread::sleep(Duration::from_millis(2));
    // Only who runs now is waited for: an init may start again what has ended.
    let running = proc.map(processes);
    signal_everyone(Signal::TERM);
    // A stopped process hears SIGTERM only when it goes on.
    signal_everyone(Signal::CONT);
    wait_for(proc, running.as_deref(), TERM_GRACE);
    let left = proc.map(processes);
    if left.as_ref().is_none_or(|left| !left.is_empty()) {
        signal_everyone(Signal::KILL);
        wait_for(proc, left.as_deref(), KILL_GRACE);
    }
    rustix::fs::sync();
    release_disks(proc);
    let acpi = rustix::fs::access(c"/sys/firmware/acpi", Access::EXISTS).is_ok();
    let command = if acpi && !reboot {
        RebootCommand::PowerOff
    } else {
        RebootCommand::Restart
    };
    let result = rustix::system::reboot(command);
    say!("the kernel refused to end the machine: {result:?}");
    loop {
        std::thread::sleep(Duration::from_secs(1));
    }
}

/// Sends a signal to every process but PID 1 and this one.
fn signal_everyone(signal: Signal) {
    // That there is nobody to signal is no failure.
    let _ = sys::kill(-1, signal.as_raw());
}

/// Waits until these processes have ended, at most `limit`; some part of it when nobody can tell, for want of
/// a proc file system.
fn wait_for(proc: Option<&OwnedFd>, pids: Option<&[i32]>, limit: Duration) {
    let (Some(proc), Some(pids)) = (proc, pids) else {
        return std::thread::sleep(limit / 10);
    };
    let start = Instant::now();
    let mut pause = Duration::from_millis(1);
    while pids.iter().any(|pid| is_running(proc, *pid)) && start.elapsed() < limit {
        std::thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(20));
    }
}

/// The processes that have a program, which kernel threads and zombies do not; without PID 1 and this one.
fn processes(proc: &OwnedFd) -> Vec<i32> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let listing = rustix::fs::openat(proc, c".", flags, Mode::empty()).and_then(rustix::fs::Dir::new);
    let own = rustix::process::getpid().as_raw_pid();
    let entries = listing.into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str().ok()?.parse().ok());
    pids.filter(|pid| *pid != 1 && *pid != own && is_running(proc, *pid))
        .collect()
}

fn is_running(proc: &OwnedFd, pid: i32) -> bool {
    rustix::fs::readlinkat(proc, format!("{pid}/exe"), Vec::new()).is_ok()
}

/// Unmounts file systems on block devices, newest first; one still in use becomes read-only.
fn release_disks(proc: Option<&OwnedFd>) {
    let Some(proc) = proc else { return };
    // Not `self`, which is the process's first thread: that may have ended.
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    let Ok(table) = rustix::fs::openat(proc, c"thread-self/mounts", flags, Mode::empty()) else {
        return;
    };
    let Ok(table) = std::io::read_to_string(std::fs::File::from(table)) else {
        return;
    };
    for target in disk_mounts(&table).rev() {
        if rustix::mount::unmount(target.as_slice(), UnmountFlags::empty()).is_err() {
            // The root and what hangs in it; the sync before has to do if this fails too.
            let _ = rustix::mount::mount_remount(target.as_slice(), MountFlags::RDONLY, c"");
        }
    }
}

/// Mount points whose source is a device, in the order of the table.
fn disk_mounts(table: &str) -> impl DoubleEndedIterator<Item = Vec<u8>> {
    table.lines().filter_map(|line| {
        let mut fields = line.split(' ');
        let device = fields.next()?.starts_with("/dev/");
        device.then(|| fields.next().map(unescape))?
    })
}

/// A path out of `/proc/thread-self/mounts`, where blanks and backslashes are three octal digits.
fn unescape(field: &str) -> Vec<u8> {
    let (mut path, mut rest) = (Vec::new(), field.as_bytes());
    while let Some((&byte, after)) = rest.split_first() {
        let code = after.get(..3).and_then(|digits| std::str::from_utf8(digits).ok());
        match (byte, code.and_then(|digits| u8::from_str_radix(digits, 8).ok())) {
            (b'\\', Some(code)) => {
                path.push(code);
                rest = &after[3..];
            }
            _ => {
                path.push(byte);
                rest = after;
            }
        }
    }
    path
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn disks_are_found_and_their_names_read() {
        let table = "proc /proc proc rw 0 0\n/dev/vda / ext4 rw 0 0\n/dev/vdb /a\\040b\\134c ext4 rw 0 0\n\
                     tmpfs /run tmpfs rw 0 0\n/dev/vdc /x\\9 ext4 ro 0 0\n\n/dev/odd\n";
        let found: Vec<_> = disk_mounts(table).collect();
        assert_eq!(found, [b"/".to_vec(), b"/a b\\c".to_vec(), b"/x\\9".to_vec()]);
    }

    #[test]
    fn processes_are_waited_for() {
        let proc = crate::root::open_proc(c"/proc").expect("a proc file system");
        let mut child = std::process::Command::new("sleep")
            .arg("1000")
            .spawn()
            .expect("a process");
        let pid = child.id().cast_signed();
        let found = processes(&proc);
        assert!(found.contains(&pid), "a process that runs is found");
        assert!(
            !found.contains(&std::process::id().cast_signed()),
            "whoever asks is not"
        );
        let start = Instant::now();
        wait_for(Some(&proc), Some(&[pid]), Duration::from_millis(50));
        assert!(start.elapsed() >= Duration::from_millis(50), "it has not ended");

        // A zombie counts as ended: who should wait for it may never do so.
        child.kill().expect("killed");
        wait_for(Some(&proc), Some(&[pid]), Duration::from_secs(60));
        assert!(!processes(&proc).contains(&pid));
        child.wait().expect("its status");

        let empty = tempfile::tempdir().expect("a folder");
        assert_eq!(
            processes(&OwnedFd::from(
                std::fs::File::open(empty.path()).expect("the folder")
            )),
            []
        );
    }
}
