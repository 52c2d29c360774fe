//! Between a child and whoever it runs for: input in, output out, and when it is over.
//!
//! Enters: a child that runs, its pipes, a [`Peer`]. Leaves: its output at the peer while it runs, then how it ended.
//! One thread, one poll loop: a peer that takes nothing slows the child, and nothing else. Absent on purpose: waiting
//! for processes that outlive the child. Their output up to the child's end is passed on, and [`LINGER`] longer; then
//! their pipes go to the keeper.

use std::time::{Duration, Instant};

use provium_protocol::{ExitStatus, Exited};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::fd::{AsFd, OwnedFd};
use rustix::io::Errno;
use rustix::process::{Pid, WaitId, WaitIdOptions, WaitIdStatus, waitid};

use super::spawn::Child;
use crate::keeper::Keeper;
use crate::sys;

/// How long after the child's end its pipes may stay open before what holds them counts as background. Long
/// enough for the last process of a pipeline that the shell did not wait for.
const LINGER: Duration = Duration::from_millis(50);
/// How long a killed child may take to be gone; one stuck in the kernel does not keep the host waiting.
const KILL_GRACE: Duration = Duration::from_secs(2);
/// How often it is looked whether the rest of a group has gone.
const GROUP_LOOK: Duration = Duration::from_millis(10);
/// Most bytes taken from a pipe at once: all that it holds by default.
pub(crate) const READ: usize = 64 * 1024;

/// Whom a child runs for.
pub(crate) trait Peer {
    /// Why the child has nobody left to run for.
    type Lost;

    /// What is looked at beside the child.
    fn bell(&self) -> PollFd<'_>;
    /// The bell has rung.
    fn rung(&mut self, run: &mut Run) -> Result<(), Self::Lost>;
    /// The pipe that input waits for; it is asked for each round.
    fn input(&self) -> Option<impl AsFd>;
    /// The pipe takes input, or nobody has it open for reading.
    fn feed(&mut self);
    /// Whether it takes anything from standard output (0) or standard error (1) now.
    fn takes(&self, output: usize) -> bool;
    /// Takes what the pipe holds, at most [`READ`] bytes in one read; how many there were.
    fn take(&mut self, output: usize, pipe: &OwnedFd) -> Result<Taken, Self::Lost>;
    /// The child has ended; its output may not have been taken yet.
    fn ended(&mut self, exited: &Exited);
}

/// What came of reading a pipe.
pub(crate) enum Taken {
    Bytes(usize),
    Nothing,
    End,
}

impl Taken {
    /// For the result of a read.
    pub(crate) fn of(read: &Result<usize, Errno>) -> Taken {
        match read {
            Ok(0) => Taken::End,
            Ok(n) => Taken::Bytes(*n),
            Err(Errno::AGAIN | Errno::INTR) => Taken::Nothing,
            Err(_) => Taken::End,
        }
    }
}

/// One of the child's outputs.
#[derive(Debug)]
struct Output {
    /// `None` after its end.
    pipe: Option<OwnedFd>,
    /// Bytes written before the child's end and not yet read, once it has ended.
    owed: u64,
}

/// Where the child is in its life.
#[derive(Debug)]
enum Life {
    Running { kill_at: Option<Kill> },
    Killed { give_up_at: Instant },
    Ended { exited: Exited, leave_at: Instant },
}

/// When the group is to be killed, and whether that counts as a timeout.
#[derive(Debug, Clone, Copy)]
struct Kill {
    at: Instant,
    timed_out: bool,
}

/// A child and how it is doing.
#[derive(Debug)]
pub(crate) struct Run {
    child: Child,
    started: Instant,
    life: Life,
    timed_out: bool,
    /// The group is to be gone too, and is killed at this time.
    end_group_at: Option<Instant>,
}

/// A child and its outputs.
#[derive(Debug)]
pub(crate) struct Pump {
    run: Run,
    outputs: [Output; 2],
}

/// What became ready.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Source {
    Bell,
    Child,
    Input,
    Output(usize),
}

impl Pump {
    /// For a child started at `started`, with the reading ends of its outputs, which do not block.
    pub(super) fn new(child: Child, outputs: [OwnedFd; 2], started: Instant) -> Pump {
        Pump {
            run: Run {
                child,
                started,
                life: Life::Running { kill_at: None },
                timed_out: false,
                end_group_at: None,
            },
            outputs: outputs.map(|pipe| Output {
                pipe: Some(pipe),
                owed: 0,
            }),
        }
    }

    /// The child's process group gets SIGKILL at this time after its start; one past the end of time never comes.
    pub(crate) fn time_out_after(&mut self, timeout: Duration) {
        if let Some(at) = self.run.started.checked_add(timeout) {
            self.run.kill_by(at, true);
        }
    }

    pub(crate) fn pid(&self) -> Pid {
        self.run.child.pid
    }

    /// Runs until the child has ended and its output is taken, or its peer is lost, which ends the child.
    pub(crate) fn run<P: Peer>(mut self, peer: &mut P, keeper: &Keeper) -> Result<Exited, P::Lost> {
        let result = self.pump(peer);
        if result.is_err() {
            self.run.end_child();
        }
        for output in &mut self.outputs {
            if let Some(pipe) = output.pipe.take() {
                keeper.empty(pipe);
            }
        }
        if !matches!(self.run.life, Life::Ended { .. }) {
            // It is stuck in the kernel; its status will be there some day.
            keeper.reap(self.run.child.pidfd);
        }
        result
    }

    fn pump<P: Peer>(&mut self, peer: &mut P) -> Result<Exited, P::Lost> {
        loop {
            let now = Instant::now();
            if let Some(exited) = self.done(peer, now) {
                return Ok(exited);
            }
            self.run.kill_in_time(now);
            for source in self.wait(peer, now) {
                match source {
                    Source::Bell => peer.rung(&mut self.run)?,
                    Source::Child => self.fetch_status(peer),
                    Source::Input => peer.feed(),
                    Source::Output(at) => self.outputs[at].forward(at, peer)?,
                }
            }
        }
    }

    /// How it ended, if all is done.
    fn done<P: Peer>(&self, peer: &mut P, now: Instant) -> Option<Exited> {
        match &self.run.life {
            Life::Ended { exited, leave_at } => {
                let ending = self.run.end_group_at.is_some();
                // Who ends a program does not wait for room for its output.
                let owed = |(at, output): (usize, &Output)| output.owed > 0 && (!ending || peer.takes(at));
                let over = self.outputs.iter().all(|output| output.pipe.is_none())
                    || (now >= *leave_at && !self.outputs.iter().enumerate().any(owed));
                (over && !self.run.group_is_left(now)).then(|| exited.clone())
            }
            Life::Killed { give_up_at } if now >= *give_up_at => {
                let exited = self
                    .run
                    .exited(ExitStatus::Signalled(libc::SIGKILL), now - self.run.started);
                peer.ended(&exited);
                Some(exited)
            }
            _ => None,
        }
    }

    /// Waits for something to happen, at most until the next point in time that matters.
    fn wait<P: Peer>(&self, peer: &P, now: Instant) -> Vec<Source> {
        let mut sources = vec![Source::Bell];
        let mut fds = vec![peer.bell()];
        if !matches!(self.run.life, Life::Ended { .. }) {
            sources.push(Source::Child);
            fds.push(PollFd::new(&self.run.child.pidfd, PollFlags::IN));
        }
        let input = peer.input();
        if let Some(pipe) = &input {
            sources.push(Source::Input);
            fds.push(PollFd::new(pipe, PollFlags::OUT));
        }
        for (at, output) in self.outputs.iter().enumerate() {
            if let Some(pipe) = &output.pipe
                && peer.takes(at)
            {
                sources.push(Source::Output(at));
                fds.push(PollFd::new(pipe, PollFlags::IN));
            }
        }
        let timeout = self.until(now).map(|until| sys::timespec(until - now));
        match poll(&mut fds, timeout.as_ref()) {
            Ok(_) => {
                let ready = sources
                    .iter()
                    .zip(&fds)
                    .filter(|(_, fd)| !fd.revents().is_empty());
                ready.map(|(source, _)| *source).collect()
            }
            // Interrupted, or out of memory, which may pass; either way it is looked at again.
            Err(_) => Vec::new(),
        }
    }

    /// The next point in time that matters, not before `now`.
    fn until(&self, now: Instant) -> Option<Instant> {
        let until = match &self.run.life {
            Life::Running { kill_at } => kill_at.map(|kill| kill.at),
            Life::Killed { give_up_at } => Some(*give_up_at),
            Life::Ended { leave_at, .. } if *leave_at > now => Some(*leave_at),
            // Only output is waited for, or a group.
            Life::Ended { .. } => self.run.end_group_at.map(|_| now + GROUP_LOOK),
        };
        until.map(|until| until.max(now))
    }

    /// The child has ended: takes its status, and stock of what it left in its pipes.
    fn fetch_status<P: Peer>(&mut self, peer: &mut P) {
        let duration = self.run.started.elapsed();
        let status = match self.run.try_wait() {
            Ok(Some(status)) => exit_status(&status),
            Ok(None) => return,
            // A test's own system call has waited for it and taken the status.
            Err(_) => ExitStatus::Exited(-1),
        };
        let exited = self.run.exited(status, duration);
        for output in &mut self.outputs {
            output.owed = output
                .pipe
                .as_ref()
                .map_or(0, |pipe| rustix::io::ioctl_fionread(pipe).unwrap_or(0));
        }
        peer.ended(&exited);
        self.run.life = Life::Ended {
            exited,
            leave_at: Instant::now() + LINGER,
        };
    }
}

impl Output {
    /// Passes on what the pipe holds.
    fn forward<P: Peer>(&mut self, at: usize, peer: &mut P) -> Result<(), P::Lost> {
        let Some(pipe) = &self.pipe else { return Ok(()) };
        match peer.take(at, pipe)? {
            Taken::Bytes(n) => self.owed = self.owed.saturating_sub(n as u64),
            Taken::Nothing => {}
            Taken::End => {
                self.pipe = None;
                self.owed = 0;
            }
        }
        Ok(())
    }
}

impl Run {
    /// Sends a signal to the child, SIGKILL to its whole group. One that has ended is no failure.
    pub(crate) fn signal(&self, signal: i32) -> Result<(), Errno> {
        match self.number() {
            Some(pid) if signal == libc::SIGKILL => sys::kill(-pid, signal),
            Some(pid) => sys::kill(pid, signal),
            None => Ok(()),
        }
    }

    /// Sends a signal to the child's process group; false when it has ended.
    pub(crate) fn signal_group(&self, signal: i32) -> Result<bool, Errno> {
        match self.number() {
            Some(pid) => sys::kill(-pid, signal).map(|()| true),
            None => Ok(false),
        }
    }

    /// Kills the group at once; it counts as a timeout unless the child has ended.
    pub(crate) fn time_out(&mut self) {
        self.kill_by(Instant::now(), true);
    }

    /// Kills the group at this time if it is not gone by then; the child's end is over only with that of its group.
    pub(crate) fn end_by(&mut self, at: Instant) {
        self.end_group_at = Some(self.end_group_at.map_or(at, |earlier| earlier.min(at)));
        self.kill_by(at, false);
    }

    fn kill_by(&mut self, at: Instant, timed_out: bool) {
        if let Life::Running { kill_at } = &mut self.life
            && kill_at.is_none_or(|kill| at < kill.at)
        {
            *kill_at = Some(Kill { at, timed_out });
        }
    }

    fn kill_in_time(&mut self, now: Instant) {
        if let Life::Running {
            kill_at: Some(Kill { at, timed_out }),
        } = self.life
            && now >= at
        {
            self.timed_out = timed_out;
            self.kill();
            self.life = Life::Killed {
                give_up_at: now + KILL_GRACE,
            };
        }
    }

    /// Whether the group is waited for and still has somebody in it. Whoever ignores its last second is killed.
    fn group_is_left(&self, now: Instant) -> bool {
        let Some(at) = self.end_group_at else { return false };
        // The leader has been waited for, but its number belongs to the group while that has a member, and no new
        // process gets it in the few milliseconds between two looks.
        let group = self.child.pid.as_raw_pid();
        if !sys::group_runs(group) {
            return false;
        }
        if now < at {
            return true;
        }
        let _ = sys::kill(-group, libc::SIGKILL);
        false
    }

    /// The child's number while it is still its own: until it has been waited for.
    fn number(&self) -> Option<i32> {
        (!matches!(self.life, Life::Ended { .. })).then(|| self.child.pid.as_raw_pid())
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
            WaitId::PidFd(self.child.pidfd.as_fd()),
            WaitIdOptions::EXITED | WaitIdOptions::NOHANG,
        )
    }

    /// Kills the child's process group.
    fn kill(&self) {
        // That all of the group has ended by itself is no failure.
        let _ = self.signal_group(libc::SIGKILL);
    }

    /// Kills a child nobody waits for any more and takes its status.
    fn end_child(&mut self) {
        if matches!(self.life, Life::Ended { .. }) {
            return;
        }
        self.kill();
        let mut fds = [PollFd::new(&self.child.pidfd, PollFlags::IN)];
        let _ = poll(&mut fds, Some(&sys::timespec(KILL_GRACE)));
        if !matches!(self.try_wait(), Ok(None)) {
            self.life = Life::Ended {
                exited: self.exited(ExitStatus::Signalled(libc::SIGKILL), self.started.elapsed()),
                leave_at: Instant::now(),
            };
        }
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
