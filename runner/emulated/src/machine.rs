//! The set-up of the emulated host inside: names of devices, file systems, clock and limits.
//!
//! Input: a [`Plan`]. Output: a machine with all file systems mounted, among them the folders shared for
//! writing. Not here: the command, and everything that `init.sh` has to do before Provium can be executed.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use rustix::mount::{MountFlags, mount};
use rustix::process::{Resource, Rlimit, setrlimit};
use rustix::system::{RebootCommand, reboot};
use rustix::time::{ClockId, Timespec, clock_settime};

use crate::frame::Plan;

/// Mount options of a folder shared for writing: changes made outside are seen, and files can be mapped.
const SHARE_OPTIONS: &std::ffi::CStr = c"trans=virtio,version=9p2000.L,msize=512000,cache=mmap";

/// Makes the names in `/dev` that udev makes on an installed machine.
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

/// Sets everything up that belongs to the machine and not to the command's process alone.
///
/// # Errors
/// What could not be done, as a sentence.
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

/// Powers the emulated host off at once. Changes in shared folders are outside already; all others are lost.
pub(crate) fn power_off() -> ! {
    let _ = reboot(RebootCommand::PowerOff);
    // Only reached by a process that is not PID 1 of anything.
    std::process::exit(1)
}
