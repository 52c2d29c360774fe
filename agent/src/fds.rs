//! Where the agent keeps its own descriptors: out of the test's way.
//!
//! A test opens files by raw system calls and counts on low numbers; a worker made by `fork` keeps the test's
//! descriptors and closes the agent's. So the agent's own lie at [`base`] and above, all of them but those an op
//! opens and closes again. Enters: descriptors wherever the kernel put them. Leaves: the same, higher up. Absent on
//! purpose: a list of them; one number tells whose a descriptor is.

use std::sync::{OnceLock, RwLock};

use rustix::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use rustix::io::Errno;
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// From here on they lie, where the limit allows: beyond what a process may open by default.
const BASE: u64 = 1024;
/// So many the agent needs at least.
const NEEDED: u64 = 512;

struct Limits {
    base: RawFd,
    /// What programs get back, and what this process has in place of it.
    programs: Rlimit,
    own: Rlimit,
}

fn limits() -> &'static Limits {
    static LIMITS: OnceLock<Limits> = OnceLock::new();
    LIMITS.get_or_init(|| {
        let programs = getrlimit(Resource::Nofile);
        let own = Rlimit {
            current: programs.maximum,
            maximum: programs.maximum,
        };
        // Raising the soft limit needs no right.
        let _ = setrlimit(Resource::Nofile, own);
        let own = getrlimit(Resource::Nofile);
        let most = own.current.unwrap_or(u64::MAX);
        // With little room, half of it for each.
        let base = if most >= BASE + NEEDED { BASE } else { most / 2 };
        Limits {
            base: RawFd::try_from(base).unwrap_or(RawFd::MAX),
            programs,
            own,
        }
    })
}

/// The lowest number of the agent's own descriptors.
pub(crate) fn base() -> RawFd {
    limits().base
}

/// The limit that programs start with: the one the agent found, unless a test has set another since.
pub(crate) fn limit_of_programs() -> Option<Rlimit> {
    let limits = limits();
    (getrlimit(Resource::Nofile) == limits.own).then_some(limits.programs)
}

/// Held to read while the agent has descriptors of its own among the test's, and to write by `fork`.
static MOVING: RwLock<()> = RwLock::new(());

/// Makes descriptors and moves them to where the agent's own belong. What makes them must not block.
pub(crate) fn own<T: Move>(make: impl FnOnce() -> Result<T, Errno>) -> Result<T, Errno> {
    let base = base();
    let _moving = MOVING.read().unwrap_or_else(|poisoned| poisoned.into_inner());
    make().map(|made| made.moved(base))
}

/// Moves a descriptor to where the agent's own belong.
pub(crate) fn moved(fd: OwnedFd) -> OwnedFd {
    fd.moved(base())
}

/// A pipe of the agent's own: reading end, writing end.
pub(crate) fn pipe(flags: PipeFlags) -> Result<(OwnedFd, OwnedFd), Errno> {
    own(|| pipe_with(PipeFlags::CLOEXEC | flags))
}

/// A copy of a descriptor, of the agent's own.
pub(crate) fn copy(fd: impl AsFd) -> Result<OwnedFd, Errno> {
    rustix::io::fcntl_dupfd_cloexec(&fd, base()).or_else(|_| rustix::io::fcntl_dupfd_cloexec(&fd, 3))
}

/// Keeps every other thread from having the agent's descriptors among the test's while `during` runs.
pub(crate) fn with_none_moving<T>(during: impl FnOnce() -> T) -> T {
    let _still = MOVING.write().unwrap_or_else(|poisoned| poisoned.into_inner());
    during()
}

/// What has descriptors to be moved.
pub(crate) trait Move: Sized {
    /// The same at `base` or above; where there is no room, it stays where it is.
    fn moved(self, base: RawFd) -> Self;
}

impl Move for OwnedFd {
    fn moved(self, base: RawFd) -> OwnedFd {
        if self.as_raw_fd() >= base {
            return self;
        }
        rustix::io::fcntl_dupfd_cloexec(&self, base).unwrap_or(self)
    }
}

impl Move for Option<OwnedFd> {
    fn moved(self, base: RawFd) -> Option<OwnedFd> {
        self.map(|fd| fd.moved(base))
    }
}

impl Move for (OwnedFd, OwnedFd) {
    fn moved(self, base: RawFd) -> (OwnedFd, OwnedFd) {
        (self.0.moved(base), self.1.moved(base))
    }
}
