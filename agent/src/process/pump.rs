//! Between a child and whoever it runs for: input in, output out, and when it is over.
//!
//! One thread, one poll loop: a peer that takes nothing slows the child, and nothing else.
//!
//! Input: a child that runs, its pipes, a [`Peer`].
//! Output: its output at the peer while it runs, then how it ended.
//! Not here: waiting for processes that outlive the child. Their output up to the child's end is passed on,
//! and [`LINGER`] longer; then their pipes go to the supervisor.

use std::time::{Duration, Instant};

use provium_protocol::Exited;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::fd::{AsFd, OwnedFd};
use rustix::io::Errno;
use rustix::process::Pid;

use super::child::Child;
use super::spawn::Spawned;
use crate::poll::timespec;
use crate::supervisor::Supervisor;

/// How long after the child's end its pipes may stay open before what holds them counts as background. Long
/// enough for the last process of a pipeline that the shell did not wait for.
const LINGER: Duration = Duration::from_millis(50);
/// How often it is looked whether the rest of a group has gone.
const GROUP_LOOK: Duration = Duration::from_millis(10);
/// Most bytes taken from a pipe at once: all that it holds by default.
pub(crate) const READ: usize = 64 * 1024;

/// Whom a child runs for.
pub(crate) trait Peer {
    /// Why the child has nobody left to run for.
    type Lost;

    /// Descriptor that is looked at beside the child.
    fn wakeup(&self) -> PollFd<'_>;
    /// Handles what that descriptor has become ready for.
    fn woken(&mut self, child: &mut Child) -> Result<(), Self::Lost>;
    /// The pipe that input waits for; it is asked for each round.
    fn input(&self) -> Option<impl AsFd>;
    /// Writes to that pipe, which takes input or has nobody who reads it.
    fn feed(&mut self);
    /// Whether it takes anything from standard output (0) or standard error (1) now.
    fn takes(&self, output: usize) -> bool;
    /// Takes what the pipe holds, at most [`READ`] bytes in one read; how many there were.
    fn take(&mut self, output: usize, pipe: &OwnedFd) -> Result<Taken, Self::Lost>;
    /// Hears that the child has ended; its output may not have been taken yet.
    fn ended(&mut self, exited: &Exited);
}

/// Result of reading a pipe.
pub(crate) enum Taken {
    Bytes(usize),
    Nothing,
    End,
}

impl Taken {
    /// What a read's result means.
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
struct OutputPipe {
    /// Reading end; `None` after the output's end.
    pipe: Option<OwnedFd>,
    /// Bytes written before the child's end and not yet read, once it has ended.
    owed: u64,
}

/// A child and its outputs.
#[derive(Debug)]
pub(crate) struct Pump {
    child: Child,
    outputs: [OutputPipe; 2],
}

/// What became ready.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Ready {
    Wakeup,
    Child,
    Input,
    Output(usize),
}

impl Pump {
    /// A pump for a process started at `started`, with the reading ends of its outputs, which do not block;
    /// an output that comes by the other has none.
    pub(super) fn new(process: Spawned, outputs: [Option<OwnedFd>; 2], started: Instant) -> Pump {
        Pump {
            child: Child::new(process, started),
            outputs: outputs.map(|pipe| OutputPipe { pipe, owed: 0 }),
        }
    }

    /// Kills the child's process group this long after its start.
    pub(crate) fn time_out_after(&mut self, timeout: Duration) {
        self.child.time_out_after(timeout);
    }

    pub(crate) fn pid(&self) -> Pid {
        self.child.pid()
    }

    /// Runs until the child has ended and its output is taken, or its peer is lost, which ends the child.
    pub(crate) fn run<P: Peer>(mut self, peer: &mut P, supervisor: &Supervisor) -> Result<Exited, P::Lost> {
        let result = self.pump(peer);
        if result.is_err() {
            self.child.end_now();
        }
        for output in &mut self.outputs {
            if let Some(pipe) = output.pipe.take() {
                supervisor.drain(pipe);
            }
        }
        if let Some(pidfd) = self.child.into_unreaped() {
            supervisor.reap(pidfd);
        }
        result
    }

    fn pump<P: Peer>(&mut self, peer: &mut P) -> Result<Exited, P::Lost> {
        loop {
            let now = Instant::now();
            if let Some(exited) = self.done(peer, now) {
                return Ok(exited);
            }
            self.child.kill_in_time(now);
            for ready in self.wait(peer, now) {
                match ready {
                    Ready::Wakeup => peer.woken(&mut self.child)?,
                    Ready::Child => self.fetch_status(peer),
                    Ready::Input => peer.feed(),
                    Ready::Output(at) => self.outputs[at].forward(at, peer)?,
                }
            }
        }
    }

    /// How it ended, if all is done.
    fn done<P: Peer>(&self, peer: &mut P, now: Instant) -> Option<Exited> {
        let Some((exited, since)) = self.child.ended() else {
            let exited = self.child.given_up(now)?;
            peer.ended(&exited);
            return Some(exited);
        };
        let ending = self.child.ends_its_group();
        // Who ends a program does not wait for room for its output.
        let owed = |(at, output): (usize, &OutputPipe)| output.owed > 0 && (!ending || peer.takes(at));
        let over = self.outputs.iter().all(|output| output.pipe.is_none())
            || (now >= since + LINGER && !self.outputs.iter().enumerate().any(owed));
        (over && !self.child.group_is_left(now)).then(|| exited.clone())
    }

    /// Waits for something to happen, at most until the next point in time that matters.
    fn wait<P: Peer>(&self, peer: &P, now: Instant) -> Vec<Ready> {
        let mut parts = vec![Ready::Wakeup];
        let mut fds = vec![peer.wakeup()];
        if let Some(pidfd) = self.child.pidfd() {
            parts.push(Ready::Child);
            fds.push(PollFd::new(pidfd, PollFlags::IN));
        }
        let input = peer.input();
        if let Some(pipe) = &input {
            parts.push(Ready::Input);
            fds.push(PollFd::new(pipe, PollFlags::OUT));
        }
        for (at, output) in self.outputs.iter().enumerate() {
            if let Some(pipe) = &output.pipe
                && peer.takes(at)
            {
                parts.push(Ready::Output(at));
                fds.push(PollFd::new(pipe, PollFlags::IN));
            }
        }
        let timeout = self.until(now).map(|until| timespec(until - now));
        match poll(&mut fds, timeout.as_ref()) {
            Ok(_) => {
                let ready = parts.iter().zip(&fds).filter(|(_, fd)| !fd.revents().is_empty());
                ready.map(|(part, _)| *part).collect()
            }
            // Interrupted, or out of memory, which may pass; either way it is looked at again.
            Err(_) => Vec::new(),
        }
    }

    /// The next point in time that matters, not before `now`.
    fn until(&self, now: Instant) -> Option<Instant> {
        let until = match self.child.ended() {
            None => self.child.deadline(),
            Some((_, since)) if since + LINGER > now => Some(since + LINGER),
            // Only output is waited for, or a group.
            Some(_) => self.child.ends_its_group().then(|| now + GROUP_LOOK),
        };
        until.map(|until| until.max(now))
    }

    /// The child has ended: takes its status, and counts what it left in its pipes.
    fn fetch_status<P: Peer>(&mut self, peer: &mut P) {
        let Some(exited) = self.child.fetch_status() else {
            return;
        };
        for output in &mut self.outputs {
            let unread = |pipe| rustix::io::ioctl_fionread(pipe).unwrap_or(0);
            output.owed = output.pipe.as_ref().map_or(0, unread);
        }
        peer.ended(&exited);
    }
}

impl OutputPipe {
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
