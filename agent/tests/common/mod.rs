//! The host's end of a session, for tests: the agent serves the other end on a thread of this process.
#![allow(dead_code, reason = "each test file uses a part")]

use std::io::Write;
use std::ops::{Deref, DerefMut};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use provium_agent::supervisor::Duties;
use provium_agent::{Agent, Session, SessionError};
use provium_protocol::*;
use rustix::fd::{BorrowedFd, OwnedFd};

/// Longer than any test takes; a test that would wait for ever fails instead.
pub(crate) const LONG: Duration = Duration::from_secs(60);

/// A session seen from the host.
pub(crate) struct Host {
    pub(crate) stream: UnixStream,
    pub(crate) hello: Hello,
    pub(crate) shared: Arc<Agent>,
    agent: Option<JoinHandle<Result<(), SessionError>>>,
    /// `reboot` of each shutdown that the agent has asked its supervisor for.
    pub(crate) shutdowns: Receiver<bool>,
}

/// What came before a reply.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Output {
    pub(crate) body: Vec<u8>,
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: Vec<u8>,
}

/// Duties of a supervisor that has no machine to end: it tells the test.
struct NoMachine(Sender<bool>);

impl Duties for NoMachine {
    fn listener(&self) -> Option<BorrowedFd<'_>> {
        None
    }

    fn accept(&self) {}

    fn shut_down(&self, reboot: bool) {
        // A test that is not interested has dropped the other end.
        let _ = self.0.send(reboot);
    }
}

impl Host {
    /// A session that has just begun; nothing has been said to the agent.
    pub(crate) fn connect() -> Host {
        let agent = Arc::new(Agent::new(None).expect("an agent"));
        let (ended, shutdowns) = channel();
        let supervisor = agent.supervisor.clone();
        thread::spawn(move || supervisor.run(&NoMachine(ended)));
        Host::another(agent, shutdowns, true)
    }

    /// A further session with the same agent, in which both sides have greeted.
    pub(crate) fn beside(&self) -> Host {
        let mut host = Host::another(self.shared.clone(), channel().1, false);
        host.send(&Frame::Welcome(Welcome { version: VERSION }));
        host
    }

    fn another(shared: Arc<Agent>, shutdowns: Receiver<bool>, is_own: bool) -> Host {
        let (stream, theirs) = UnixStream::pair().expect("a socket pair");
        // A real host is another machine: a worker made by `fork` must not have its end. It closes what lies
        // here.
        let stream = rustix::io::fcntl_dupfd_cloexec(&stream, 2048).expect("a copy");
        let stream = UnixStream::from(stream);
        stream.set_read_timeout(Some(LONG)).expect("a timeout");
        let agent = shared.clone();
        // As the daemon's own: a session that takes over finds what there was.
        let session = move || {
            let session = Session::open(OwnedFd::from(theirs), &agent);
            let session = if is_own {
                session.map(Session::kept)
            } else {
                session
            };
            session.and_then(Session::run)
        };
        let agent = thread::spawn(session);
        let mut reader = &stream;
        let hello = match read_frame(&mut reader).expect("a first frame") {
            Frame::Hello(hello) => hello,
            other => panic!("{other:?}"),
        };
        Host {
            stream,
            hello,
            shared,
            agent: Some(agent),
            shutdowns,
        }
    }

    /// A session in which both sides have greeted.
    pub(crate) fn new() -> Host {
        let mut host = Host::connect();
        host.send(&Frame::Welcome(Welcome { version: VERSION }));
        host
    }

    pub(crate) fn send(&mut self, frame: &Frame) {
        write_frame(&mut self.stream, frame).expect("sent");
    }

    pub(crate) fn send_body(&mut self, body: &[u8]) {
        write_data(&mut self.stream, BODY, body).expect("sent");
        self.send(&Frame::End { channel: BODY });
    }

    /// Reads until the reply.
    pub(crate) fn answer(&mut self) -> (Output, Reply) {
        let mut output = Output::default();
        loop {
            match read_frame(&mut self.stream).expect("a frame") {
                Frame::Data { channel: BODY, bytes } => output.body.extend(bytes),
                Frame::Data {
                    channel: STDOUT,
                    bytes,
                } => output.stdout.extend(bytes),
                Frame::Data {
                    channel: STDERR,
                    bytes,
                } => output.stderr.extend(bytes),
                // Of the kernel that the test runs on.
                Frame::Taint(_) => {}
                Frame::Reply(reply) => return (output, reply),
                other => panic!("{other:?}"),
            }
        }
    }

    /// A request without a body.
    pub(crate) fn ask(&mut self, request: Request) -> (Output, Reply) {
        self.send(&Frame::Request(request));
        self.answer()
    }

    /// A request and its body, all sent before anything is read.
    pub(crate) fn ask_with(&mut self, request: Request, body: &[u8]) -> (Output, Reply) {
        self.send(&Frame::Request(request));
        self.send_body(body);
        self.answer()
    }

    /// The error of a request without a body.
    pub(crate) fn refusal(&mut self, request: Request) -> OpError {
        self.ask(request).1.expect_err("an error")
    }

    /// Closes the connection and returns how the agent took it.
    pub(crate) fn close(mut self) -> Result<(), SessionError> {
        self.stream.shutdown(std::net::Shutdown::Both).expect("shut down");
        self.end()
    }

    /// Waits until the agent has ended the session.
    pub(crate) fn end(&mut self) -> Result<(), SessionError> {
        let agent = self.agent.take().expect("ended once");
        let start = Instant::now();
        while !agent.is_finished() {
            assert!(start.elapsed() < LONG, "the session does not end");
            thread::sleep(Duration::from_millis(1));
        }
        agent.join().expect("no panic")
    }

    pub(crate) fn send_raw(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).expect("sent");
    }
}

/// A worker and the host's end of its connection.
pub(crate) struct Worker {
    pub(crate) host: Host,
    pub(crate) pid: u32,
    pub(crate) tid: u32,
    pub(crate) port: u32,
}

impl Deref for Worker {
    type Target = Host;
    fn deref(&self) -> &Host {
        &self.host
    }
}

impl DerefMut for Worker {
    fn deref_mut(&mut self) -> &mut Host {
        &mut self.host
    }
}

/// Keeps the session's connection for a worker: its ticket.
pub(crate) fn park(host: &mut Host) -> u64 {
    match host.ask(Request::Park).1 {
        Ok(Response::Parked { ticket }) => ticket,
        other => panic!("{other:?}"),
    }
}

/// A worker, as a thread or as a process.
pub(crate) fn spawn_worker(host: &mut Host, thread: bool) -> Worker {
    let mut side = host.beside();
    let ticket = park(&mut side);
    side.end().expect("its thread ends, its connection does not");
    match host.ask(Request::SpawnWorker { ticket, thread }).1 {
        Ok(Response::Worker { pid, tid, port }) => Worker {
            host: side,
            pid,
            tid,
            port,
        },
        other => panic!("{other:?}"),
    }
}

/// Bytes of a path or a text, as requests have them.
pub(crate) fn bytes(text: impl AsRef<std::ffi::OsStr>) -> serde_bytes::ByteBuf {
    text.as_ref().as_encoded_bytes().to_vec().into()
}

/// Waits until something is so.
pub(crate) fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < LONG, "{what}: still not so");
        thread::sleep(Duration::from_millis(2));
    }
}

/// Whether a process has a program, which a zombie has not, whoever fails to wait for it.
pub(crate) fn is_running(pid: impl std::fmt::Display) -> bool {
    std::fs::read_link(format!("/proc/{pid}/exe")).is_ok()
}

/// An [`Exec`] with nothing but arguments.
pub(crate) fn program(argv: &[&str]) -> Exec {
    Exec {
        argv: argv
            .iter()
            .map(|argument| argument.as_bytes().to_vec().into())
            .collect(),
        env: Vec::new(),
        env_clear: false,
        cwd: None,
        has_stdin: false,
        timeout_ms: None,
    }
}

/// A shell line.
pub(crate) fn shell(line: &str) -> Exec {
    program(&["/bin/sh", "-c", line])
}

/// The end of a program out of a reply.
pub(crate) fn exited(reply: Reply) -> Exited {
    match reply {
        Ok(Response::Exited(exited)) => exited,
        other => panic!("{other:?}"),
    }
}

/// A raw system call with these arguments and no buffers.
pub(crate) fn raw_call(nr: i64, args: &[u64]) -> Syscall {
    let mut all = [0; 6];
    all[..args.len()].copy_from_slice(args);
    Syscall {
        nr,
        args: all,
        bufs: Vec::new(),
        ptrs: Vec::new(),
        nested: Vec::new(),
    }
}

/// Opens a file that is there, to read and perhaps to write; returns its descriptor.
pub(crate) fn open(host: &mut Host, path: &std::path::Path, write: bool) -> i32 {
    let open = OpenFile {
        path: bytes(path),
        read: true,
        write,
        create: false,
        truncate: false,
        append: false,
        exclusive: false,
        perm: None,
    };
    match host.ask(Request::OpenFile(open)).1 {
        Ok(Response::Opened { fd }) => fd,
        other => panic!("{other:?}"),
    }
}
