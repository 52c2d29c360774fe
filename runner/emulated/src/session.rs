//! One start of the emulated host, from the kernel's first line to the command's exit code.
//!
//! Input: a running [`Qemu`], a [`Plan`], the command's streams. Output: a [`SessionEnd`]. Not here: starting
//! again, and what is shown meanwhile.
//!
//! One loop around one poll, without threads: it can be left at any time. Everything that comes from QEMU, a
//! line of the kernel, output or a heartbeat, is a sign of life. While the reader of Provium's output is
//! slow, nothing is read from QEMU, and its silence does not count.

use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant, SystemTime};

use provium_base::terminal::RawTerminal;
use rustix::event::PollFlags;
use serde_bytes::ByteBuf;
use signal_hook::consts::{SIGINT, SIGPIPE, SIGWINCH};

use crate::frame::{CHUNK, Decoder, FromInside, Plan, STDIN_WINDOW, ToInside, encode};
use crate::output::{LastOutput, PendingOutput, Unbuffered, read_tail};
use crate::outside::{self, StdinRead, UserInput};
use crate::poll;
use crate::qemu::Qemu;

/// Time between two nudges, messages that only make QEMU raise an interrupt. QEMU 7.2 updates the flag of
/// pending interrupts without its lock when a nested guest exits, so that an interrupt which arrives at that
/// instant is forgotten, and with it the timer's that would set the next. Any later interrupt brings the
/// forgotten one along; a nudge is one.
const NUDGE: Duration = Duration::from_millis(50);
/// Bytes of output that may wait before nothing more is read from the emulated host.
const MAX_PENDING: usize = 8 * CHUNK;

/// How one start of the emulated host ended.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum SessionEnd {
    /// The command ended: its exit code, or 128 and the signal's number.
    Exited(i32),
    /// Provium inside cannot run the command: why, in words.
    Failed(String),
    /// No sign of life for too long.
    Frozen,
    /// QEMU ended before the command did; whether the command had been started.
    Died { started: bool },
    /// The user does not want to wait: the number of the signal that said so.
    Interrupted(i32),
}

/// The state of one start.
struct Session<'a> {
    qemu: &'a mut Qemu,
    user: &'a mut UserInput,
    plan: &'a Plan,
    last: &'a mut LastOutput,
    decoder: Decoder,
    /// Bytes of frames to be sent inside.
    outgoing: Vec<u8>,
    stdout: PendingOutput,
    stderr: PendingOutput,
    /// Bytes of input that the command has not taken yet.
    under_way: usize,
    input_ended: bool,
    ready: bool,
    started: bool,
    interrupted: bool,
    /// Keeps the user's terminal raw while the command uses it.
    raw: Option<RawTerminal>,
    end: Option<SessionEnd>,
}

/// A file descriptor that poll watches.
#[derive(Clone, Copy, PartialEq, Eq)]
enum PollSource {
    Channel,
    Console,
    QemuStderr,
    Signal,
    Stdin,
    Stdout,
    Stderr,
}

/// Attends one start until it ends; `silence` is how long there may be no sign of life. `on_started` is
/// called when the command has been started, before its first output.
///
/// # Errors
/// Only those of this process: poll and standard input.
pub(crate) fn run(
    qemu: &mut Qemu,
    plan: &Plan,
    user: &mut UserInput,
    last: &mut LastOutput,
    silence: Duration,
    on_started: &mut dyn FnMut(),
) -> io::Result<SessionEnd> {
    let mut session = Session {
        qemu,
        user,
        plan,
        last,
        decoder: Decoder::default(),
        outgoing: Vec::new(),
        stdout: PendingOutput::default(),
        stderr: PendingOutput::default(),
        under_way: 0,
        input_ended: false,
        ready: false,
        started: false,
        interrupted: false,
        raw: None,
        end: None,
    };
    let mut alive = Instant::now();
    let mut nudged = Instant::now();
    loop {
        if session.end.is_some() && session.stdout.is_empty() && session.stderr.is_empty() {
            break;
        }
        let reads = session.reads_channel();
        if nudged.elapsed() >= NUDGE {
            nudged = Instant::now();
            session.nudge();
        }
        let silence_left = silence.saturating_sub(alive.elapsed());
        let ready = session.poll(silence_left.min(NUDGE.saturating_sub(nudged.elapsed())))?;
        // While nothing was read, silence means nothing.
        if !reads
            || ready
                .iter()
                .any(|ready| matches!(ready, PollSource::Channel | PollSource::Console))
        {
            alive = Instant::now();
        }
        for source in ready {
            session.handle(source, on_started)?;
        }
        if session.end.is_none() && alive.elapsed() >= silence {
            session.end = Some(SessionEnd::Frozen);
        }
    }
    Ok(session.end.unwrap_or(SessionEnd::Frozen))
}

impl Session<'_> {
    /// Whether messages from inside are read now.
    fn reads_channel(&self) -> bool {
        self.end.is_none() && self.stdout.len() + self.stderr.len() < MAX_PENDING
    }

    /// Whether the command takes input now.
    fn reads_stdin(&self) -> bool {
        self.started && self.end.is_none() && !self.input_ended && self.under_way < STDIN_WINDOW
    }

    /// Waits for descriptors that are ready, at most for `timeout`.
    ///
    /// # Errors
    /// Those of poll.
    fn poll(&mut self, timeout: Duration) -> io::Result<Vec<PollSource>> {
        // Input that an earlier start has read needs no poll.
        if self.reads_stdin() && !self.user.stdin.is_live() {
            return Ok(vec![PollSource::Stdin]);
        }
        let streams = &self.user.streams;
        let mut sources: Vec<(PollSource, BorrowedFd<'_>, PollFlags)> = Vec::new();
        let mut channel = PollFlags::empty();
        channel.set(PollFlags::IN, self.reads_channel());
        channel.set(PollFlags::OUT, self.end.is_none() && !self.outgoing.is_empty());
        if !channel.is_empty() {
            sources.push((PollSource::Channel, self.qemu.channel.as_fd(), channel));
        }
        if self.end.is_none() {
            sources.push((PollSource::Console, self.qemu.console.as_fd(), PollFlags::IN));
            sources.push((PollSource::QemuStderr, self.qemu.stderr.as_fd(), PollFlags::IN));
        }
        sources.extend(
            self.user
                .signals
                .sockets()
                .map(|socket| (PollSource::Signal, socket, PollFlags::IN)),
        );
        if let Some(stdin) = streams.stdin.as_ref().filter(|_| self.reads_stdin()) {
            sources.push((PollSource::Stdin, stdin.as_fd(), PollFlags::IN));
        }
        if !self.stdout.is_empty() {
            sources.push((PollSource::Stdout, streams.stdout.as_fd(), PollFlags::OUT));
        }
        if !self.stderr.is_empty() {
            sources.push((PollSource::Stderr, streams.stderr.as_fd(), PollFlags::OUT));
        }
        poll::ready(&sources, timeout)
    }

    /// Does what a descriptor is ready for.
    fn handle(&mut self, source: PollSource, on_started: &mut dyn FnMut()) -> io::Result<()> {
        match source {
            PollSource::Channel => self.channel(on_started),
            PollSource::Console => {
                if !read_tail(&mut self.qemu.console, &mut self.last.console) {
                    self.died();
                }
                Ok(())
            }
            PollSource::QemuStderr => {
                if !read_tail(&mut self.qemu.stderr, &mut self.last.qemu) {
                    self.died();
                }
                Ok(())
            }
            PollSource::Signal => {
                self.signals();
                Ok(())
            }
            PollSource::Stdin => self.stdin(),
            PollSource::Stdout => self
                .stdout
                .write(&mut Unbuffered(&self.user.streams.stdout))
                .map_or_else(|_| self.broken_pipe(), Ok),
            PollSource::Stderr => self
                .stderr
                .write(&mut Unbuffered(&self.user.streams.stderr))
                .map_or_else(|_| self.broken_pipe(), Ok),
        }
    }

    /// Queues a message for inside.
    fn send(&mut self, message: &ToInside) {
        match encode(message) {
            Ok(frame) => self.outgoing.extend_from_slice(&frame),
            Err(error) => {
                self.end = Some(SessionEnd::Failed(format!(
                    "the command line and the environment are {error}"
                )))
            }
        }
    }

    /// Queues a nudge, unless another message is on its way, which raises an interrupt as well.
    fn nudge(&mut self) {
        if self.ready && self.end.is_none() && self.outgoing.is_empty() {
            self.send(&ToInside::Nudge);
        }
    }

    /// Ends the session, since QEMU has closed one of its streams.
    fn died(&mut self) {
        if self.end.is_none() {
            // Messages may have come just before.
            self.read_channel(&mut || {});
        }
        self.end.get_or_insert(SessionEnd::Died {
            started: self.started,
        });
    }

    /// Sends what is queued, and reads messages.
    fn channel(&mut self, on_started: &mut dyn FnMut()) -> io::Result<()> {
        while !self.outgoing.is_empty() {
            match self.qemu.channel.write(&self.outgoing) {
                Ok(len) => drop(self.outgoing.drain(..len)),
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => {
                    self.died();
                    return Ok(());
                }
            }
        }
        if self.reads_channel() && !self.read_channel(on_started) {
            self.died();
        }
        Ok(())
    }

    /// Reads and handles messages; false at the end of the stream.
    fn read_channel(&mut self, on_started: &mut dyn FnMut()) -> bool {
        let mut bytes = vec![0; CHUNK];
        loop {
            match self.qemu.channel.read(&mut bytes) {
                Ok(0) => return false,
                Ok(len) => {
                    self.decoder.push(&bytes[..len]);
                    loop {
                        match self.decoder.next::<FromInside>() {
                            Ok(Some(message)) => self.message(message, on_started),
                            Ok(None) => break,
                            Err(error) => {
                                self.end.get_or_insert(SessionEnd::Failed(format!(
                                    "Provium inside sent {error}"
                                )));
                                return true;
                            }
                        }
                    }
                    if !self.reads_channel() {
                        return true;
                    }
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return error.kind() == ErrorKind::WouldBlock,
            }
        }
    }

    /// Handles a message from inside.
    fn message(&mut self, message: FromInside, on_started: &mut dyn FnMut()) {
        match message {
            FromInside::Ready => {
                self.ready = true;
                let now = SystemTime::now()
                    .duration_since(SystemTime::UNIX_EPOCH)
                    .unwrap_or_default();
                let plan = Plan {
                    now,
                    ..self.plan.clone()
                };
                self.send(&ToInside::Plan(Box::new(plan)));
            }
            FromInside::Started => {
                on_started();
                self.started = true;
                if self.plan.terminal.is_some_and(|terminal| terminal.raw) {
                    self.raw = RawTerminal::enter().ok();
                }
            }
            FromInside::Stdout(bytes) => self.stdout.push(&bytes),
            FromInside::Stderr(bytes) => self.stderr.push(&bytes),
            FromInside::StdinTaken(len) => self.under_way = self.under_way.saturating_sub(len as usize),
            FromInside::Heartbeat => {}
            FromInside::Exited(code) => {
                self.end.get_or_insert(SessionEnd::Exited(code));
            }
            FromInside::Failed(reason) => {
                self.end.get_or_insert(SessionEnd::Failed(reason));
            }
        }
    }

    /// Passes signals on; the second one, or one before the command runs, ends the session.
    fn signals(&mut self) {
        for signal in self.user.signals.take() {
            match signal {
                SIGWINCH => {
                    let size = self.plan.terminal.and_then(|_| outside::window_size());
                    if let Some(size) = size.filter(|_| self.started) {
                        self.send(&ToInside::Resize(size));
                    }
                }
                _ if self.started && !self.interrupted => {
                    self.interrupted = true;
                    self.send(&ToInside::Signal(signal));
                }
                _ => self.interrupt(signal),
            }
        }
    }

    /// Ends the session at once, without the output that waits to be written.
    fn interrupt(&mut self, signal: i32) {
        self.end = Some(SessionEnd::Interrupted(signal));
        self.stdout.clear();
        self.stderr.clear();
    }

    /// Reads input for the command and sends it inside.
    fn stdin(&mut self) -> io::Result<()> {
        let limit = CHUNK.min(STDIN_WINDOW - self.under_way);
        let typed = match self.user.stdin.replay(limit) {
            Some(typed) => typed,
            None => match &self.user.streams.stdin {
                Some(stdin) => self.user.stdin.read(&mut Unbuffered(stdin), limit)?,
                None => StdinRead::End,
            },
        };
        match typed {
            StdinRead::Bytes(bytes) if bytes.is_empty() => {}
            StdinRead::Bytes(bytes) => {
                self.under_way += bytes.len();
                self.send(&ToInside::Stdin(ByteBuf::from(bytes)));
            }
            StdinRead::End => {
                self.input_ended = true;
                self.send(&ToInside::StdinEnd);
            }
            StdinRead::Abort => self.interrupt(SIGINT),
        }
        Ok(())
    }

    /// Nobody reads the output any more: sends SIGPIPE, which the command would have got here.
    fn broken_pipe(&mut self) -> io::Result<()> {
        if self.end.is_none() {
            self.send(&ToInside::Signal(SIGPIPE));
        }
        Ok(())
    }
}
