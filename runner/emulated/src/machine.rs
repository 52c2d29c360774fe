//! What makes the emulated host a machine to work on: devices' names, file systems, limits.
//!
//! Enters: a [`Plan`]. Leaves: a machine with the folders shared for writing in place. Absent on purpose: the
//! command, and everything `init.sh` has to do before Provium can be executed at all.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use rustix::mount::{MountFlags, mount};
use rustix::process::{Resource, Rlimit, setrlimit};
use rustix::system::{RebootCommand, reboot};
use rustix::time::{ClockId, Timespec, clock_settime};

use super::frame::Plan;

/// The folders shared for writing see each other's changes and those made outside, and can be mapped.
const SHARE_OPTIONS: &std::ffi::CStr = c"trans=virtio,version=9p2000.L,msize=512000,cache=mmap";

/// Names that udev would make on an installed machine.
pub(crate) fn first_devices() {
    for (name, target) in [
        ("fd", "/proc/self/fd"),
        ("stdin", "/proc/self/fd/0"),
        ("stdout", "/proc/self/fd/1"),
        ("stderr", "/proc/self/fd/2"),
    ] {
        let _ = symlink(target, Path::new("/dev").join(name));
    }
}

/// Mounts and sets all that does not depend on the command's process alone.
///
/// # Errors
/// A sentence that names what could not be done.
pub(crate) fn set_up(plan: &Plan) -> Result<(), String> {
    let _ = rustix::system::sethostname(b"emulated-host");
    if let Ok(now) = Timespec::try_from(plan.now) {
        let _ = clock_settime(ClockId::Realtime, now);
    }
    for (folder, kind, options) in [
        ("/dev/pts", c"devpts", c"mode=620,gid=5,ptmxmode=666"),
        ("/dev/shm", c"tmpfs", c"mode=1777"),
        ("/sys/fs/cgroup", c"cgroup2", c""),
    ] {
        fs::create_dir_all(folder).map_err(|error| format!("cannot make {folder}: {error}"))?;
        mount(kind, folder, kind, MountFlags::empty(), options)
            .map_err(|error| format!("cannot mount {folder}: {error}"))?;
    }
    // Whoever may start Provium may use its emulated host, and there is no udev to say who may use KVM.
    fs::set_permissions("/dev/kvm", fs::Permissions::from_mode(0o666))
        .map_err(|error| format!("the emulated host has no /dev/kvm: {error}"))?;
    for (i, folder) in plan.writable.iter().enumerate() {
        mount(
            format!("rw{i}"),
            folder,
            c"9p",
            MountFlags::empty(),
            SHARE_OPTIONS,
        )
        .map_err(|error| format!("cannot mount {} for writing: {error}", folder.display()))?;
    }
    let (current, maximum) = plan.open_files;
    setrlimit(Resource::Nofile, Rlimit { current, maximum })
        .map_err(|error| format!("cannot allow {current:?} open files: {error}"))?;
    Ok(())
}

/// Ends the emulated host at once. What is on shared folders is outside already; the rest is to be lost.
pub(crate) fn power_off() -> ! {
    let _ = reboot(RebootCommand::PowerOff);
    // Only reached by a process that is not PID 1 of anything.
    std::process::exit(1)
}
