//! A child from its start to its end: signals, time limits, its status, and what is left of its process
//! group.
//!
//! Input: a process that runs; points in time.
//! Output: how it ended.
//! Not here: its pipes; see `pump`.

use std::time::{Duration, Instant};

use provium_protocol::{ExitStatus, Exited};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::fd::{AsFd, OwnedFd};
use rustix::io::Errno;
use rustix::process::{Pid, WaitId, WaitIdOptions, WaitIdStatus, waitid};

use super::group;
use super::spawn::Spawned;
use crate::poll::timespec;
use crate::sys;

/// How long a killed child may take to be gone; one stuck in the kernel does not keep the host waiting.
const KILL_GRACE: Duration = Duration::from_secs(2);

/// A child and what is to become of it.
#[derive(Debug)]
pub(crate) struct Child {
    process: Spawned,
    started: Instant,
    phase: Phase,
    /// Its end counts as a timeout.
    timed_out: bool,
    /// The group is to be gone too, and is killed at this time.
    end_group_at: Option<Instant>,
}

/// How far a child has come.
#[derive(Debug)]
enum Phase {
    Running { kill: Option<Kill> },
    Killed { give_up_at: Instant },
    Ended { exited: Exited, since: Instant },
}

/// When the group is to be killed, and whether that counts as a timeout.
#[derive(Debug, Clone, Copy)]
struct Kill {
    at: Instant,
    timed_out: bool,
}

impl Child {
    /// A process that was started at `started`.
    pub(super) fn new(process: Spawned, started: Instant) -> Child {
        Child {
            process,
            started,
            phase: Phase::Running { kill: None },
            timed_out: false,
            end_group_at: None,
        }
    }

    pub(super) fn pid(&self) -> Pid {
        self.process.pid
    }

    /// Sends a signal to the child, SIGKILL to its whole group. One that has ended is no failure.
    pub(super) fn signal(&self, signal: i32) -> Result<(), Errno> {
        match self.number() {
            Some(pid) if signal == libc::SIGKILL => sys::kill(-pid, signal),
            Some(pid) => sys::kill(pid, signal),
            None => Ok(()),
        }
    }

    /// Sends a signal to the child's process group; false when it has ended.
    pub(super) fn signal_group(&self, signal: i32) -> Result<bool, Errno> {
        match self.number() {
            Some(pid) => sys::kill(-pid, signal).map(|()| true),
            None => Ok(false),
        }
    }

    /// Kills the group this long after the start, which counts as a timeout; one past the end of time never
    /// comes.
    pub(super) fn time_out_after(&mut self, timeout: Duration) {
        if let Some(at) = self.started.checked_add(timeout) {
            self.kill_by(at, true);
        }
    }

    /// Kills the group at once; it counts as a timeout unless the child has ended.
    pub(super) fn time_out(&mut self) {
        self.kill_by(Instant::now(), true);
    }

    /// Kills the group at this time if it is not gone by then; the child's end is over only with that of its
    /// group.
    pub(super) fn end_by(&mut self, at: Instant) {
        self.end_group_at = Some(self.end_group_at.map_or(at, |earlier| earlier.min(at)));
        self.kill_by(at, false);
    }

    fn kill_by(&mut self, at: Instant, timed_out: bool) {
        if let Phase::Running { kill } = &mut self.phase
            && kill.is_none_or(|kill| at < kill.at)
        {
            *kill = Some(Kill { at, timed_out });
        }
    }

    /// Kills the group if it is time.
    pub(super) fn kill_in_time(&mut self, now: Instant) {
        if let Phase::Running {
            kill: Some(Kill { at, timed_out }),
        } = self.phase
            && now >= at
        {
            self.timed_out = timed_out;
            self.kill();
            self.phase = Phase::Killed {
                give_up_at: now + KILL_GRACE,
            };
        }
    }

    /// Descriptor that becomes readable when the child ends; `None` once its status has been taken.
    pub(super) fn pidfd(&self) -> Option<&OwnedFd> {
        (!matches!(self.phase, Phase::Ended { .. })).then_some(&self.process.pidfd)
    }

    /// How it ended and when that was noticed, once its status has been taken.
    pub(super) fn ended(&self) -> Option<(&Exited, Instant)> {
        match &self.phase {
            Phase::Ended { exited, since } => Some((exited, *since)),
            _ => None,
        }
    }

    /// The end of a child that was killed and is not gone in time.
    pub(super) fn given_up(&self, now: Instant) -> Option<Exited> {
        match self.phase {
            Phase::Killed { give_up_at } if now >= give_up_at => {
                Some(self.exited(ExitStatus::Signalled(libc::SIGKILL), now - self.started))
            }
            _ => None,
        }
    }

    /// The time at which something is to be done about a child that runs.
    pub(super) fn deadline(&self) -> Option<Instant> {
        match &self.phase {
            Phase::Running { kill } => kill.map(|kill| kill.at),
            Phase::Killed { give_up_at } => Some(*give_up_at),
            Phase::Ended { .. } => None,
        }
    }

    /// Takes its status if it has ended.
    pub(super) fn fetch_status(&mut self) -> Option<Exited> {
        let duration = self.started.elapsed();
        let status = match self.try_wait() {
            Ok(Some(status)) => exit_status(&status),
            Ok(None) => return None,
            // A test's own system call has waited for it and taken the status.
            Err(_) => ExitStatus::Exited(-1),
        };
        let exited = self.exited(status, duration);
        self.phase = Phase::Ended {
            exited: exited.clone(),
            since: Instant::now(),
        };
        Some(exited)
    }

    /// Whether the group is to end with the child.
    pub(super) fn ends_its_group(&self) -> bool {
        self.end_group_at.is_some()
    }

    /// Whether the group is waited for and still has somebody in it. Whoever ignores its last second is
    /// killed.
    pub(super) fn group_is_left(&self, now: Instant) -> bool {
        let Some(at) = self.end_group_at else { return false };
        // The leader has been waited for, but its number belongs to the group while that has a member, and no
        // new process gets it in the few milliseconds between two looks.
        let group = self.process.pid.as_raw_pid();
        if !group::has_running_member(group) {
            return false;
        }
        if now < at {
            return true;
        }
        let _ = sys::kill(-group, libc::SIGKILL);
        false
    }

    /// Kills a child nobody waits for any more and takes its status.
    pub(super) fn end_now(&mut self) {
        if matches!(self.phase, Phase::Ended { .. }) {
            return;
        }
        self.kill();
        let mut fds = [PollFd::new(&self.process.pidfd, PollFlags::IN)];
        let _ = poll(&mut fds, Some(&timespec(KILL_GRACE)));
        if !matches!(self.try_wait(), Ok(None)) {
            self.phase = Phase::Ended {
                exited: self.exited(ExitStatus::Signalled(libc::SIGKILL), self.started.elapsed()),
                since: Instant::now(),
            };
        }
    }

    /// The pidfd of a child that is stuck in the kernel: its status will be there some day.
    pub(super) fn into_unreaped(self) -> Option<OwnedFd> {
        (!matches!(self.phase, Phase::Ended { .. })).then_some(self.process.pidfd)
    }

    /// The child's number while it is still its own: until it has been waited for.
    fn number(&self) -> Option<i32> {
        (!matches!(self.phase, Phase::Ended { .. })).then(|| self.process.pid.as_raw_pid())
    }

    fn exited(&self, status: ExitStatus, duration: Duration) -> Exited {
        Exited {
            status: match self.timed_out {
                true => ExitStatus::TimedOut,
                false => status,
            },
            duration_ns: u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX),
        }
    }

    fn try_wait(&self) -> Result<Option<WaitIdStatus>, Errno> {
        waitid(
            WaitId::PidFd(self.process.pidfd.as_fd()),
            WaitIdOptions::EXITED | WaitIdOptions::NOHANG,
        )
    }

    /// Kills the child's process group.
    fn kill(&self) {
        // That all of the group has ended by itself is no failure.
        let _ = self.signal_group(libc::SIGKILL);
    }
}

fn exit_status(status: &WaitIdStatus) -> ExitStatus {
    match (status.exit_status(), status.terminating_signal()) {
        (_, Some(signal)) => ExitStatus::Signalled(signal),
        (Some(code), None) => ExitStatus::Exited(code),
        // Waited for with EXITED, it is one of the two.
        (None, None) => ExitStatus::Exited(-1),
    }
}

/// The end of a program of which nothing else is known.
pub(crate) fn unknown_end() -> Exited {
    Exited {
        status: ExitStatus::Exited(-1),
        duration_ns: 0,
    }
}
