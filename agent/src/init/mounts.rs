//! File systems and folders every program counts on.
//!
//! Input: a root that may be empty.
//! Output: the mounts of the tables below, where nothing was mounted before.
//! Not here: a tmpfs on `/tmp`, and on `/run` where the root is memory already: what the user's archives put
//! there must stay visible.

use std::ffi::CStr;

use rustix::fs::{AtFlags, CWD, Mode, StatxAttributes, StatxFlags};
use rustix::io::Errno;
use rustix::mount::MountFlags;

use crate::console::say;
use crate::failure::errno_text;

/// A file system, where it belongs and whether its absence from the kernel is worth a line on the console.
pub(super) struct Mount {
    kind: &'static CStr,
    at: &'static CStr,
    options: &'static CStr,
    needed: bool,
}

/// The proc file system, which the agent itself needs, whoever is PID 1.
pub(super) const PROC: [Mount; 1] = [Mount {
    kind: c"proc",
    at: c"/proc",
    options: c"",
    needed: true,
}];
/// The sysfs; see [`PROC`].
pub(super) const SYS: [Mount; 1] = [Mount {
    kind: c"sysfs",
    at: c"/sys",
    options: c"",
    needed: true,
}];
/// The devtmpfs; see [`PROC`].
pub(super) const DEV: [Mount; 1] = [Mount {
    kind: c"devtmpfs",
    at: c"/dev",
    options: c"mode=0755",
    needed: true,
}];

/// A tmpfs on `/run` for a root on a disk, where files of an earlier boot lie.
pub(super) const RUN: [Mount; 1] = [Mount {
    kind: c"tmpfs",
    at: c"/run",
    options: c"mode=0755",
    needed: false,
}];

/// File systems that an init mounts, for guests without one.
pub(super) const WITHOUT_INIT: [Mount; 3] = [
    Mount {
        kind: c"devpts",
        at: c"/dev/pts",
        options: c"mode=0620,gid=5,ptmxmode=0666",
        needed: false,
    },
    Mount {
        kind: c"tmpfs",
        at: c"/dev/shm",
        options: c"mode=1777",
        needed: false,
    },
    Mount {
        kind: c"cgroup2",
        at: c"/sys/fs/cgroup",
        options: c"",
        needed: false,
    },
];

/// The guest's name where neither the kernel's command line nor `/etc/hostname` gives one.
const HOST_NAME: &[u8] = b"provium";

const FOLDERS: [(&CStr, u32); 3] = [(c"/root", 0o700), (c"/run", 0o755), (c"/tmp", 0o1777)];

const LINKS: [(&CStr, &CStr); 4] = [
    (c"/proc/self/fd", c"/dev/fd"),
    (c"/proc/self/fd/0", c"/dev/stdin"),
    (c"/proc/self/fd/1", c"/dev/stdout"),
    (c"/proc/self/fd/2", c"/dev/stderr"),
];

/// Mounts what is not mounted yet.
pub(super) fn mount(mounts: &[Mount]) {
    for mount in mounts {
        // That it exists is the usual case; that it cannot be made shows at once in the mount.
        let _ = rustix::fs::mkdir(mount.at, Mode::from_raw_mode(0o755));
        if is_mount_point(mount.at) {
            continue;
        }
        match rustix::mount::mount(
            mount.kind,
            mount.at,
            mount.kind,
            MountFlags::empty(),
            mount.options,
        ) {
            Ok(()) | Err(Errno::BUSY) => {}
            Err(error) if mount.needed => {
                let (kind, at) = (mount.kind.to_string_lossy(), mount.at.to_string_lossy());
                say!("cannot mount {kind} at {at}: {}", errno_text(error));
            }
            Err(_) => {}
        }
    }
}

fn is_mount_point(path: &CStr) -> bool {
    let look = rustix::fs::statx(CWD, path, AtFlags::NO_AUTOMOUNT, StatxFlags::empty());
    look.is_ok_and(|look| look.stx_attributes.contains(StatxAttributes::MOUNT_ROOT))
}

/// The rest of what an init does: folders, links, a name. All of it is for the programs a
/// test runs, and each of them says best what it misses.
pub(super) fn finish() {
    for (path, mode) in FOLDERS {
        if rustix::fs::mkdir(path, Mode::from_raw_mode(mode)).is_ok() {
            // The umask has taken its part of the mode.
            let _ = rustix::fs::chmod(path, Mode::from_raw_mode(mode));
        }
    }
    for (target, link) in LINKS {
        let _ = rustix::fs::symlink(target, link);
    }
    if rustix::system::uname().nodename().to_bytes() == b"(none)" {
        let given = std::fs::read("/etc/hostname").unwrap_or_default();
        let name = given
            .split(|byte| *byte == b'\n')
            .next()
            .unwrap_or_default()
            .trim_ascii();
        let _ = rustix::system::sethostname(if name.is_empty() { HOST_NAME } else { name });
    }
}
