//! One start of the emulated host, from the kernel's first line to the command's exit code.
//!
//! Enters: a running [`Qemu`], a [`Plan`], Provium's own streams. Leaves: how it [`End`]ed. Absent on purpose:
//! starting again, and what is shown meanwhile.
//!
//! One loop around one poll, without threads: it can be left at any time. Whatever comes from QEMU, a line of the
//! kernel, output or a heartbeat, is a sign of life. While the reader of Provium's output is slow, nothing is read
//! from QEMU and nothing is concluded from its silence.

use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant, SystemTime};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use serde_bytes::ByteBuf;
use signal_hook::consts::{SIGINT, SIGPIPE, SIGWINCH};

use super::frame::{CHUNK, Decoder, FromInside, Plan, STDIN_WINDOW, ToInside, encode};
use super::outside::{self, Input, Raw, Signals, Typed};
use super::qemu::Qemu;

/// Written at once to a stream that poll calls writable, without any danger to block (PIPE_BUF).
const WRITE: usize = 4096;
/// Between two nudges. QEMU 7.2 updates the flag of pending interrupts without its lock when a nested guest
/// exits, so that an interrupt which arrives at that instant is forgotten, and with it the timer's that would
/// set the next. Any later interrupt brings the forgotten one along; a nudge is one.
const NUDGE: Duration = Duration::from_millis(50);
/// Output held back before the emulated host has to wait.
const HELD: usize = 8 * CHUNK;
/// Bytes of the console and of QEMU's own words that are kept for messages.
const TAIL: usize = 4096;

/// How a start ended.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// The command ended.
    Exited(i32),
    /// Provium inside could not do what it was asked to.
    Failed(String),
    /// No sign of life for too long.
    Frozen,
    /// QEMU ended without a word from inside; whether the command had been started.
    Died { started: bool },
    /// The user does not want to wait; the signal that said so.
    Interrupted(i32),
}

/// What happened last, for messages.
#[derive(Debug, Default)]
pub(crate) struct Tails {
    /// The kernel's words.
    pub(crate) console: Vec<u8>,
    /// QEMU's words.
    pub(crate) complaints: Vec<u8>,
}

/// Provium's side: what stays the same over all starts.
pub(crate) struct Outside {
    pub(crate) input: Input,
    pub(crate) signals: Signals,
}

struct Session<'a> {
    qemu: &'a mut Qemu,
    outside: &'a mut Outside,
    plan: &'a Plan,
    tails: &'a mut Tails,
    decoder: Decoder,
    /// Frames on their way inside.
    outgoing: Vec<u8>,
    stdout: Pending,
    stderr: Pending,
    /// Input that the command has not taken yet.
    under_way: usize,
    input_ended: bool,
    ready: bool,
    started: bool,
    interrupted: bool,
    raw: Option<Raw>,
    end: Option<End>,
}

/// Output that waits for its stream.
#[derive(Default)]
struct Pending {
    bytes: Vec<u8>,
    broken: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Source {
    Channel,
    Console,
    Complaints,
    Signal,
    Stdin,
    Stdout,
    Stderr,
}

/// Goes along with one start to its end. `on_started` is called when the command runs, before its first output.
///
/// # Errors
/// Only those of this process: poll and the terminal.
pub(crate) fn run(
    qemu: &mut Qemu,
    plan: &Plan,
    outside: &mut Outside,
    tails: &mut Tails,
    silence: Duration,
    on_started: &mut dyn FnMut(),
) -> io::Result<End> {
    let mut session = Session {
        qemu,
        outside,
        plan,
        tails,
        decoder: Decoder::default(),
        outgoing: Vec::new(),
        stdout: Pending::default(),
        stderr: Pending::default(),
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
        if session.end.is_some() && session.stdout.bytes.is_empty() && session.stderr.bytes.is_empty() {
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
                .any(|ready| matches!(ready, Source::Channel | Source::Console))
        {
            alive = Instant::now();
        }
        for source in ready {
            session.handle(source, on_started)?;
        }
        if session.end.is_none() && alive.elapsed() >= silence {
            session.end = Some(End::Frozen);
        }
    }
    Ok(session.end.unwrap_or(End::Frozen))
}

impl Session<'_> {
    fn reads_channel(&self) -> bool {
        self.end.is_none() && self.stdout.bytes.len() + self.stderr.bytes.len() < HELD
    }

    fn reads_stdin(&self) -> bool {
        self.started && self.end.is_none() && !self.input_ended && self.under_way < STDIN_WINDOW
    }

    /// Waits for something to do.
    fn poll(&mut self, timeout: Duration) -> io::Result<Vec<Source>> {
        // What is there already, from an earlier start, needs no poll.
        if self.reads_stdin() && !self.outside.input.wants() {
            return Ok(vec![Source::Stdin]);
        }
        let (stdin, stdout, stderr) = (io::stdin(), io::stdout(), io::stderr());
        let mut sources: Vec<(Source, BorrowedFd<'_>, PollFlags)> = Vec::new();
        let mut channel = PollFlags::empty();
        channel.set(PollFlags::IN, self.reads_channel());
        channel.set(PollFlags::OUT, self.end.is_none() && !self.outgoing.is_empty());
        if !channel.is_empty() {
            sources.push((Source::Channel, self.qemu.channel.as_fd(), channel));
        }
        if self.end.is_none() {
            sources.push((Source::Console, self.qemu.console.as_fd(), PollFlags::IN));
            sources.push((Source::Complaints, self.qemu.complaints.as_fd(), PollFlags::IN));
        }
        sources.extend(
            self.outside
                .signals
                .sockets()
                .map(|socket| (Source::Signal, socket, PollFlags::IN)),
        );
        if self.reads_stdin() {
            sources.push((Source::Stdin, stdin.as_fd(), PollFlags::IN));
        }
        if !self.stdout.bytes.is_empty() {
            sources.push((Source::Stdout, stdout.as_fd(), PollFlags::OUT));
        }
        if !self.stderr.bytes.is_empty() {
            sources.push((Source::Stderr, stderr.as_fd(), PollFlags::OUT));
        }
        let mut fds: Vec<_> = sources
            .iter()
            .map(|(_, fd, flags)| PollFd::from_borrowed_fd(*fd, *flags))
            .collect();
        let timeout = Timespec::try_from(timeout).map_err(|_| io::Error::from(ErrorKind::InvalidInput))?;
        match poll(&mut fds, Some(&timeout)) {
            Err(rustix::io::Errno::INTR) => return Ok(Vec::new()),
            result => result?,
        };
        let ready = fds
            .iter()
            .zip(&sources)
            .filter(|(fd, _)| !fd.revents().is_empty());
        Ok(ready.map(|(_, (source, ..))| *source).collect())
    }

    fn handle(&mut self, source: Source, on_started: &mut dyn FnMut()) -> io::Result<()> {
        match source {
            Source::Channel => self.channel(on_started),
            Source::Console => {
                if !read_tail(&mut self.qemu.console, &mut self.tails.console) {
                    self.died();
                }
                Ok(())
            }
            Source::Complaints => {
                if !read_tail(&mut self.qemu.complaints, &mut self.tails.complaints) {
                    self.died();
                }
                Ok(())
            }
            Source::Signal => {
                self.signals();
                Ok(())
            }
            Source::Stdin => self.stdin(),
            Source::Stdout => self
                .stdout
                .write(&mut Unbuffered(io::stdout()))
                .map_or_else(|_| self.broken_pipe(), Ok),
            Source::Stderr => self
                .stderr
                .write(&mut Unbuffered(io::stderr()))
                .map_or_else(|_| self.broken_pipe(), Ok),
        }
    }

    fn send(&mut self, message: &ToInside) {
        match encode(message) {
            Ok(frame) => self.outgoing.extend_from_slice(&frame),
            Err(error) => {
                self.end = Some(End::Failed(format!(
                    "the command line and the environment are {error}"
                )))
            }
        }
    }

    /// Makes QEMU raise an interrupt, unless there is enough on its way to do so.
    fn nudge(&mut self) {
        if self.ready && self.end.is_none() && self.outgoing.is_empty() {
            self.send(&ToInside::Nudge);
        }
    }

    /// What cannot be read any more: the rest is on its way to stdout and stderr already.
    fn died(&mut self) {
        if self.end.is_none() {
            // Something may have been said just before.
            self.read_channel(&mut || {});
        }
        self.end.get_or_insert(End::Died {
            started: self.started,
        });
    }

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

    /// False when there will be nothing more.
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
                                self.end
                                    .get_or_insert(End::Failed(format!("Provium inside sent {error}")));
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
                    self.raw = Raw::enter().ok();
                }
            }
            FromInside::Stdout(bytes) => self.stdout.push(&bytes),
            FromInside::Stderr(bytes) => self.stderr.push(&bytes),
            FromInside::StdinTaken(len) => self.under_way = self.under_way.saturating_sub(len as usize),
            FromInside::Heartbeat => {}
            FromInside::Exited(code) => {
                self.end.get_or_insert(End::Exited(code));
            }
            FromInside::Failed(reason) => {
                self.end.get_or_insert(End::Failed(reason));
            }
        }
    }

    fn signals(&mut self) {
        for signal in self.outside.signals.take() {
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

    /// At once: nothing that waits to be written is waited for.
    fn interrupt(&mut self, signal: i32) {
        self.end = Some(End::Interrupted(signal));
        self.stdout.bytes.clear();
        self.stderr.bytes.clear();
    }

    fn stdin(&mut self) -> io::Result<()> {
        let limit = CHUNK.min(STDIN_WINDOW - self.under_way);
        let typed = match self.outside.input.again(limit) {
            Some(typed) => typed,
            None => self.outside.input.read(&mut Unbuffered(io::stdin()), limit)?,
        };
        match typed {
            Typed::Bytes(bytes) if bytes.is_empty() => {}
            Typed::Bytes(bytes) => {
                self.under_way += bytes.len();
                self.send(&ToInside::Stdin(ByteBuf::from(bytes)));
            }
            Typed::End => {
                self.input_ended = true;
                self.send(&ToInside::StdinEnd);
            }
            Typed::Hurry => self.interrupt(SIGINT),
        }
        Ok(())
    }

    /// Nobody reads on: the command learns it as it would have here.
    fn broken_pipe(&mut self) -> io::Result<()> {
        if self.end.is_none() {
            self.send(&ToInside::Signal(SIGPIPE));
        }
        Ok(())
    }
}

impl Pending {
    fn push(&mut self, bytes: &[u8]) {
        if !self.broken {
            self.bytes.extend_from_slice(bytes);
        }
    }

    /// Writes a little, after poll has said that it may.
    fn write(&mut self, to: &mut impl Write) -> io::Result<()> {
        let len = self.bytes.len().min(WRITE);
        match to.write(&self.bytes[..len]) {
            Ok(len) => drop(self.bytes.drain(..len)),
            Err(error) if matches!(error.kind(), ErrorKind::Interrupted | ErrorKind::WouldBlock) => {}
            Err(error) => {
                self.broken = true;
                self.bytes = Vec::new();
                return Err(error);
            }
        }
        Ok(())
    }
}

/// A standard stream as poll sees it: what a buffer held back, poll would not know of.
struct Unbuffered<T>(T);

impl<T: AsFd> Read for Unbuffered<T> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        Ok(rustix::io::read(&self.0, bytes)?)
    }
}

impl<T: AsFd> Write for Unbuffered<T> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(rustix::io::write(&self.0, bytes)?)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Reads what is there and keeps the end of it; false at the stream's end.
fn read_tail(from: &mut impl Read, tail: &mut Vec<u8>) -> bool {
    let mut bytes = [0; TAIL];
    match from.read(&mut bytes) {
        Ok(0) => false,
        Ok(len) => {
            tail.extend_from_slice(&bytes[..len]);
            tail.drain(..tail.len().saturating_sub(TAIL));
            true
        }
        Err(error) => matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tail_keeps_the_end() {
        let mut tail = vec![b'a'; TAIL - 1];
        assert!(read_tail(&mut &b"bcd"[..], &mut tail));
        assert_eq!(tail.len(), TAIL);
        assert!(tail.ends_with(b"abcd"));
        assert!(!read_tail(&mut io::empty(), &mut tail));
    }

    #[test]
    fn output_is_written_in_pieces_and_forgotten_once_nobody_reads() {
        let mut pending = Pending::default();
        pending.push(&[b'x'; WRITE + 1]);
        let mut written = Vec::new();
        pending.write(&mut written).unwrap();
        assert_eq!((written.len(), pending.bytes.len()), (WRITE, 1));
        struct Closed;
        impl Write for Closed {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                Err(ErrorKind::BrokenPipe.into())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        assert!(pending.write(&mut Closed).is_err());
        pending.push(b"more");
        assert!(pending.bytes.is_empty());
    }
}
