//! Between a child and the host: input in, output out, and when it is over.
//!
//! Enters: a child that runs, its pipes, its input, its time limit. Leaves: `Data` on the session while it
//! runs, then how it ended. One thread, one poll loop: a host that reads slowly slows the child, and nothing
//! else. Absent on purpose: waiting for processes that outlive the child. Their output up to the child's end is
//! sent, and [`LINGER`] longer; then their pipes go to the keeper.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use provium_protocol::{ExitStatus, Exited, STDERR, STDOUT, write_data};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::OFlags;
use rustix::io::Errno;
use rustix::process::{Signal, WaitId, WaitIdOptions, WaitIdStatus, kill_process_group, waitid};

use super::spawn::Child;
use crate::ops::body::Body;
use crate::session::{Session, SessionError};

/// How long after the child's end its pipes may stay open before what holds them counts as background. Long
/// enough for the last process of a pipeline that the shell did not wait for.
const LINGER: Duration = Duration::from_millis(50);
/// How long a killed child may take to be gone; one stuck in the kernel does not keep the host waiting.
const KILL_GRACE: Duration = Duration::from_secs(2);
/// Most bytes taken from a pipe at once: all that it holds by default.
const READ: usize = 64 * 1024;

/// A child's standard input: the pieces as they came, and how far the first has been written.
#[derive(Debug)]
pub(super) struct Input {
    pieces: VecDeque<Vec<u8>>,
}

/// Input and the pipe it goes into.
#[derive(Debug)]
pub(super) struct Feed {
    pieces: VecDeque<Vec<u8>>,
    written: usize,
    pipe: OwnedFd,
}

impl Feed {
    /// Takes in a whole body.
    pub(super) fn receive(body: &mut Body<'_>) -> Result<Input, SessionError> {
        let mut pieces = VecDeque::new();
        while let Some(piece) = body.next()? {
            pieces.push_back(piece);
        }
        Ok(Input { pieces })
    }

    /// Writes what the pipe takes; false when there is nothing more to write, or nobody to read it.
    fn write(&mut self) -> bool {
        while let Some(piece) = self.pieces.front() {
            match rustix::io::write(&self.pipe, &piece[self.written..]) {
                Ok(n) => self.written += n,
                Err(Errno::AGAIN | Errno::INTR) => return true,
                Err(_) => return false,
            }
            if self.written == piece.len() {
                self.pieces.pop_front();
                self.written = 0;
            }
        }
        false
    }
}

impl Input {
    /// Input for this pipe, whose writing end will not block.
    pub(super) fn into_pipe(self, pipe: OwnedFd) -> Result<Feed, Errno> {
        rustix::fs::fcntl_setfl(&pipe, OFlags::NONBLOCK)?;
        let pieces = self
            .pieces
            .into_iter()
            .filter(|piece| !piece.is_empty())
            .collect();
        Ok(Feed {
            pieces,
            written: 0,
            pipe,
        })
    }
}

/// One of the child's outputs.
#[derive(Debug)]
struct Output {
    channel: u8,
    /// `None` after its end.
    pipe: Option<OwnedFd>,
    /// Bytes written before the child's end and not yet read, once it has ended.
    owed: u64,
}

/// Where the child is in its life.
#[derive(Debug, Clone, Copy)]
enum Life {
    Running {
        kill_at: Option<Instant>,
    },
    Killed {
        give_up_at: Instant,
    },
    Ended {
        status: ExitStatus,
        duration: Duration,
        leave_at: Instant,
    },
}

/// What became ready.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Source {
    Host,
    Child,
    Input,
    Output(usize),
}

#[derive(Debug)]
pub(super) struct Pump {
    child: Child,
    feed: Option<Feed>,
    outputs: [Output; 2],
    started: Instant,
    life: Life,
    timed_out: bool,
}

impl Pump {
    /// For a child started at `started`, with the reading ends of its outputs, which do not block.
    pub(super) fn new(
        child: Child,
        feed: Option<Feed>,
        [stdout, stderr]: [OwnedFd; 2],
        started: Instant,
        timeout: Option<Duration>,
    ) -> Pump {
        let output = |channel, pipe| Output {
            channel,
            pipe: Some(pipe),
            owed: 0,
        };
        // A limit past the end of time is none.
        let kill_at = timeout.and_then(|timeout| started.checked_add(timeout));
        Pump {
            child,
            feed,
            outputs: [output(STDOUT, stdout), output(STDERR, stderr)],
            started,
            life: Life::Running { kill_at },
            timed_out: false,
        }
    }

    /// Runs until the child has ended and its output is sent, or the session is lost, which ends the child.
    pub(super) fn run(mut self, session: &mut Session<'_>) -> Result<Exited, SessionError> {
        let result = self.pump(session);
        if result.is_err() {
            self.end_child();
        }
        for output in &mut self.outputs {
            if let Some(pipe) = output.pipe.take() {
                session.agent.keeper.empty(pipe);
            }
        }
        result
    }

    fn pump(&mut self, session: &mut Session<'_>) -> Result<Exited, SessionError> {
        session.scratch.resize(session.scratch.len().max(READ), 0);
        loop {
            let now = Instant::now();
            if let Some(exited) = self.exited(now) {
                return Ok(exited);
            }
            if let Life::Running { kill_at: Some(at) } = self.life
                && now >= at
            {
                self.timed_out = true;
                self.life = Life::Killed {
                    give_up_at: now + KILL_GRACE,
                };
                self.kill();
            }
            for source in self.wait(session, now) {
                match source {
                    Source::Host => return Err(provium_protocol::FrameError::Closed.into()),
                    Source::Child => self.fetch_status(),
                    Source::Input => {
                        if !self.feed.as_mut().is_some_and(Feed::write) {
                            self.feed = None;
                        }
                    }
                    Source::Output(at) => self.outputs[at].forward(session)?,
                }
            }
        }
    }

    /// How it ended, if all is done.
    fn exited(&self, now: Instant) -> Option<Exited> {
        let open = self.outputs.iter().filter(|output| output.pipe.is_some());
        let (mut open, owed) = (open.peekable(), self.outputs.iter().any(|output| output.owed > 0));
        let (status, duration) = match self.life {
            Life::Ended {
                status,
                duration,
                leave_at,
            } if open.peek().is_none() || (now >= leave_at && !owed) => (status, duration),
            Life::Killed { give_up_at } if now >= give_up_at => {
                (ExitStatus::TimedOut, now.duration_since(self.started))
            }
            _ => return None,
        };
        let status = if self.timed_out {
            ExitStatus::TimedOut
        } else {
            status
        };
        Some(Exited {
            status,
            duration_ns: u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX),
        })
    }

    /// Waits for something to happen, at most until the next point in time that matters.
    fn wait(&self, session: &Session<'_>, now: Instant) -> Vec<Source> {
        let mut sources = vec![Source::Host];
        // The host sends nothing before the reply; only its end is of interest.
        let mut fds = vec![PollFd::new(&session.stream, PollFlags::RDHUP)];
        if !matches!(self.life, Life::Ended { .. }) {
            sources.push(Source::Child);
            fds.push(PollFd::new(&self.child.pidfd, PollFlags::IN));
        }
        if let Some(feed) = &self.feed {
            sources.push(Source::Input);
            fds.push(PollFd::new(&feed.pipe, PollFlags::OUT));
        }
        for (at, output) in self.outputs.iter().enumerate() {
            if let Some(pipe) = &output.pipe {
                sources.push(Source::Output(at));
                fds.push(PollFd::new(pipe, PollFlags::IN));
            }
        }
        let until = match self.life {
            Life::Running { kill_at } => kill_at,
            Life::Killed { give_up_at } => Some(give_up_at),
            Life::Ended { leave_at, .. } => Some(leave_at),
        };
        let timeout = until.map(|until| {
            let left = until.saturating_duration_since(now);
            Timespec {
                tv_sec: left.as_secs().cast_signed(),
                tv_nsec: left.subsec_nanos().into(),
            }
        });
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

    /// The child has ended: takes its status, and stock of what it left in its pipes.
    fn fetch_status(&mut self) {
        let duration = self.started.elapsed();
        let status = match self.try_wait() {
            Ok(Some(status)) => exit_status(&status),
            Ok(None) => return,
            // A test's own system call has waited for it and taken the status.
            Err(_) => ExitStatus::Exited(-1),
        };
        self.life = Life::Ended {
            status,
            duration,
            leave_at: Instant::now() + LINGER,
        };
        // Input that is left has nobody to go to.
        self.feed = None;
        for output in &mut self.outputs {
            output.owed = output
                .pipe
                .as_ref()
                .map_or(0, |pipe| rustix::io::ioctl_fionread(pipe).unwrap_or(0));
        }
    }

    fn try_wait(&self) -> Result<Option<WaitIdStatus>, Errno> {
        waitid(
            WaitId::PidFd(self.child.pidfd.as_fd()),
            WaitIdOptions::EXITED | WaitIdOptions::NOHANG,
        )
    }

    /// Kills the child's process group. The child has not been waited for, so its number is still its own.
    fn kill(&self) {
        // That all of the group has ended by itself is no failure.
        let _ = kill_process_group(self.child.pid, Signal::KILL);
    }

    /// Kills a child nobody waits for any more and takes its status.
    fn end_child(&self) {
        if matches!(self.life, Life::Ended { .. }) {
            return;
        }
        self.kill();
        let mut fds = [PollFd::new(&self.child.pidfd, PollFlags::IN)];
        let grace = Timespec {
            tv_sec: KILL_GRACE.as_secs().cast_signed(),
            tv_nsec: 0,
        };
        let _ = poll(&mut fds, Some(&grace));
        let _ = self.try_wait();
    }
}

impl Output {
    /// Sends on what the pipe holds.
    fn forward(&mut self, session: &mut Session<'_>) -> Result<(), SessionError> {
        let Some(pipe) = &self.pipe else { return Ok(()) };
        match rustix::io::read(pipe, &mut session.scratch[..READ]) {
            Ok(0) => {
                self.pipe = None;
                self.owed = 0;
                Ok(())
            }
            Ok(n) => {
                self.owed = self.owed.saturating_sub(n as u64);
                Ok(write_data(
                    &mut session.stream,
                    self.channel,
                    &session.scratch[..n],
                )?)
            }
            Err(Errno::AGAIN | Errno::INTR) => Ok(()),
            Err(_) => {
                self.pipe = None;
                self.owed = 0;
                Ok(())
            }
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
