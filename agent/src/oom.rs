//! Whom the kernel ends when memory runs out: programs and workers, and not the agent that is to tell of it.
//!
//! Input: a descriptor of a proc file system.
//! Output: the score that the kernel chooses by: -1000 of the agent, 0 of what it starts.
//! Not here: how the end of a process is told; the agent's is read off the console.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use crate::fds;

/// Below a proc file system. A child that shares the agent's memory until it has a program of its own has a
/// score of its own all the same.
const SCORE: &str = "self/oom_score_adj";

/// The proc file system by which children of a spared agent get their score back.
static SPARED: OnceLock<OwnedFd> = OnceLock::new();

/// Whether this process is spared.
static IS_SPARED: AtomicBool = AtomicBool::new(false);

/// Has the kernel spare this process, if it has the right to ask for that.
pub(crate) fn spare(proc: &OwnedFd) {
    if set(proc, b"-1000").is_ok()
        && let Ok(proc) = fds::own(|| rustix::io::fcntl_dupfd_cloexec(proc, 3))
    {
        IS_SPARED.store(SPARED.set(proc).is_ok(), Ordering::Relaxed);
    }
}

/// Lets the kernel end this child as any other, if the agent is spared, whose memory it may share. Makes
/// system calls only.
pub(crate) fn expose() {
    if let (true, Some(proc)) = (IS_SPARED.load(Ordering::Relaxed), SPARED.get()) {
        // Raising it needs no right. Where it fails, the program runs as the agent does.
        let _ = set(proc, b"0");
    }
}

/// The same for a child with memory of its own, which is about to close the agent's descriptors.
pub(crate) fn expose_for_good() {
    expose();
    IS_SPARED.store(false, Ordering::Relaxed);
}

fn set(proc: impl AsFd, score: &[u8]) -> Result<(), Errno> {
    let flags = OFlags::WRONLY | OFlags::CLOEXEC;
    let file = rustix::fs::openat(proc, SCORE, flags, Mode::empty())?;
    rustix::io::write(&file, score).map(drop)
}
