//! Where the agent keeps its own descriptors: out of the test's way.
//!
//! A test opens files by raw system calls and counts on low numbers; a worker made by `fork` keeps the test's
//! descriptors and closes the agent's. So the agent's own lie at [`base`] and above, all of them but those an
//! op opens and closes again.
//!
//! Input: descriptors wherever the kernel put them.
//! Output: the same, higher up.
//! Not here: a list of them; one number tells whose a descriptor is.

use std::sync::OnceLock;

use rustix::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use rustix::io::Errno;
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::lock::RwLock;
use crate::sys;

/// Lowest number of the agent's own descriptors, where the limit allows: beyond what a process may open by
/// default.
const BASE: u64 = 1024;
/// Least number of descriptors that the agent needs.
const NEEDED: u64 = 512;

/// Limits on open files, found and set once.
struct Limits {
    base: RawFd,
    /// The limit this process was started with, which programs get back.
    programs: Rlimit,
    /// The limit this process has set for itself.
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
    let _moving = MOVING.read();
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
    let _still = MOVING.write();
    during()
}

/// Closes all of the agent's own descriptors but these, whoever has them.
///
/// # Safety
/// No owner of a descriptor that is closed may use or drop it after this.
pub(crate) unsafe fn close_own(except: &[RawFd]) {
    for (first, last) in gaps(base(), except) {
        // SAFETY: the caller upholds that nothing relies on these numbers any more.
        let closed = unsafe { sys::close_range(first, last) };
        if closed.is_err() {
            // A kernel before 5.9. There is nothing beyond the limit on the numbers.
            let most = getrlimit(Resource::Nofile).current;
            let most = most
                .and_then(|most| RawFd::try_from(most).ok())
                .unwrap_or(RawFd::MAX);
            for fd in first..last.saturating_add(1).min(most) {
                // SAFETY: as above. A number that is not open is no failure.
                let _ = unsafe { sys::close(fd) };
            }
        }
    }
}

/// Ranges `(first, last)` of the numbers from `base` on that are not in `except`.
fn gaps(base: RawFd, except: &[RawFd]) -> Vec<(RawFd, RawFd)> {
    let mut except: Vec<RawFd> = except.iter().copied().filter(|fd| *fd >= base).collect();
    except.sort_unstable();
    let mut first = Some(base);
    let mut gaps = Vec::new();
    for fd in except {
        gaps.extend(first.filter(|first| *first < fd).map(|first| (first, fd - 1)));
        first = fd.checked_add(1);
    }
    gaps.extend(first.map(|first| (first, RawFd::MAX)));
    gaps
}

/// Descriptors that can be moved.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_gaps_leave_out_exactly_what_is_kept() {
        const END: RawFd = RawFd::MAX;
        assert_eq!(gaps(10, &[]), [(10, END)]);
        assert_eq!(gaps(10, &[3, 12, 11]), [(10, 10), (13, END)]);
        assert_eq!(gaps(10, &[10, 20]), [(11, 19), (21, END)]);
        assert_eq!(gaps(10, &[END]), [(10, END - 1)]);
    }
}
