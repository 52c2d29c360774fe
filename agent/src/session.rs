//! One connection to the host: the greeting, then requests one after the other.
//!
//! Enters: a connected stream socket. Leaves: replies on it, until the host closes it or breaks the protocol.
//! All requests of a session run on the thread that calls [`Session::run`], one at a time, so that what the
//! kernel keeps per thread (credentials, namespaces) stays from one to the next. Absent on purpose: where the
//! connection comes from, and what to do when it ends.

use std::collections::BTreeSet;
use std::fs::File;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use provium_protocol::{
    AGENT_PORT, Frame, FrameError, Hello, MAGIC, OpError, Reply, Request, VERSION, read_frame, write_frame,
};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::fd::{BorrowedFd, OwnedFd, RawFd};
use rustix::io::Errno;

use crate::console::say;
use crate::follow::{self, Source};
use crate::keeper::Keeper;
use crate::ops::calls::Calls;
use crate::ops::resumed::Random;
use crate::process::table::Table;
use crate::root::InitRoot;
use crate::worker::Parked;
use crate::{fds, ops, sys};

/// Why a session ended other than by the host closing it.
#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    /// The connection broke or carried what is no frame.
    #[error("{0}")]
    Frame(#[from] FrameError),
    /// The host does not want this agent.
    #[error("the host refused this agent: {0}")]
    Refused(String),
    /// The host welcomed an agent of another version.
    #[error("the host speaks protocol version {0}, this agent speaks version {VERSION}")]
    Version(u32),
    /// A frame came where another was due.
    #[error("the host sent {got} where {wanted} was due")]
    Unexpected {
        /// What came.
        got: &'static str,
        /// What should have come.
        wanted: &'static str,
    },
}

/// What all sessions share.
#[derive(Debug)]
pub struct Agent {
    /// The thread that outlives them.
    pub keeper: Keeper,
    /// Where PID 1 may change its root, that root.
    pub init_root: Option<InitRoot>,
    /// Programs that sessions have started.
    pub(crate) programs: Table,
    /// System calls that sessions have started.
    pub(crate) calls: Calls,
    /// Connections that wait for a worker.
    pub(crate) parked: Parked,
    /// What a resume needs.
    pub(crate) random: Random,
    /// The port that further sessions come in by.
    pub(crate) port: u32,
    /// It is not the machine's first agent.
    pub(crate) is_worker: bool,
    sessions: AtomicU64,
}

impl Agent {
    /// An agent whose keeper has not been started yet.
    pub fn new(init_root: Option<InitRoot>) -> Result<Agent, Errno> {
        Ok(Agent {
            keeper: Keeper::new()?,
            init_root,
            programs: Table::default(),
            calls: Calls::default(),
            parked: Parked::default(),
            random: Random::default(),
            port: AGENT_PORT,
            is_worker: false,
            sessions: AtomicU64::new(0),
        })
    }

    /// The agent of a worker that is a process of its own.
    pub(crate) fn of_worker(init_root: Option<InitRoot>, port: u32) -> Result<Agent, Errno> {
        Ok(Agent {
            port,
            is_worker: true,
            ..Agent::new(init_root)?
        })
    }
}

/// A connection on which the agent has said hello. What it has started and opened ends with it.
pub struct Session {
    pub(crate) stream: File,
    pub(crate) agent: Arc<Agent>,
    /// Tells its programs from those of others.
    pub(crate) id: u64,
    /// Descriptors it has opened, by number, as they are the test's.
    pub(crate) files: BTreeSet<RawFd>,
    /// Memory that requests share, empty until one needs it.
    pub(crate) scratch: Vec<u8>,
    then: Option<Then>,
}

/// What follows the reply that is about to be sent.
pub(crate) enum Then {
    /// The end of the machine.
    ShutDown { reboot: bool },
    /// A stream on this connection.
    Follow(Box<dyn Source + Send>),
    /// Nothing: the connection has been parked.
    Leave,
}

impl Session {
    fn new(stream: OwnedFd, agent: &Arc<Agent>) -> Session {
        Session {
            stream: File::from(fds::moved(stream)),
            agent: agent.clone(),
            id: agent.sessions.fetch_add(1, Ordering::Relaxed),
            files: BTreeSet::new(),
            scratch: Vec::new(),
            then: None,
        }
    }

    /// One in which both sides have greeted.
    pub(crate) fn greeted(stream: OwnedFd, agent: &Arc<Agent>) -> Session {
        Session::new(stream, agent)
    }

    /// Lets something follow the reply to the request that is being handled.
    pub(crate) fn then(&mut self, then: Then) {
        self.then = Some(then);
    }

    /// Says hello.
    pub fn open(stream: OwnedFd, agent: &Arc<Agent>) -> Result<Session, SessionError> {
        let mut session = Session::new(stream, agent);
        let hello = Hello {
            magic: MAGIC.to_owned(),
            version: VERSION,
            build: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
        };
        write_frame(&mut session.stream, &Frame::Hello(hello))?;
        Ok(session)
    }

    /// Waits for the host's welcome and does what it asks for; returns when the host has closed the session.
    pub fn run(mut self) -> Result<(), SessionError> {
        match read_frame(&mut self.stream)? {
            Frame::Welcome(welcome) if welcome.version == VERSION => {}
            Frame::Welcome(welcome) => return Err(SessionError::Version(welcome.version)),
            Frame::Refused(refused) => return Err(SessionError::Refused(refused.reason)),
            other => return Err(unexpected(&other, "a welcome")),
        }
        self.serve()
    }

    /// Does what the host asks for until it closes the session.
    pub(crate) fn serve(mut self) -> Result<(), SessionError> {
        loop {
            match read_frame(&mut self.stream) {
                Ok(Frame::Request(request)) => {
                    self.answer(request)?;
                    match self.then.take() {
                        None => {}
                        Some(Then::ShutDown { reboot }) => self.agent.keeper.shut_down(reboot),
                        // There is nothing to come back for: the host hangs up when it has had enough.
                        Some(Then::Follow(mut source)) => {
                            return follow::run(&mut self.stream, &mut *source);
                        }
                        Some(Then::Leave) => return Ok(()),
                    }
                }
                Ok(other) => return Err(unexpected(&other, "a request")),
                Err(FrameError::Closed) => return Ok(()),
                Err(error) => return Err(error.into()),
            }
        }
    }

    fn answer(&mut self, request: Request) -> Result<(), SessionError> {
        if let (Some(root), false) = (&self.agent.init_root, matches!(request, Request::Ping))
            && let Err(error) = root.follow()
        {
            say!("cannot follow PID 1 to its new root: {}", ops::errno_text(error));
        }
        let reply = match ops::handle(self, request) {
            Ok(response) => Ok(response),
            Err(ops::Failure::Op(error)) => Err(error),
            Err(ops::Failure::Session(error)) => return Err(error),
        };
        self.reply(reply)
    }

    fn reply(&mut self, reply: Reply) -> Result<(), SessionError> {
        match write_frame(&mut self.stream, &Frame::Reply(reply)) {
            Err(error @ FrameError::TooLong { .. }) => {
                let message = format!("the answer does not fit: {error}");
                let reply = Err(OpError { errno: None, message });
                Ok(write_frame(&mut self.stream, &Frame::Reply(reply))?)
            }
            result => Ok(result?),
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        ops::started::end_all(&self.agent, self.id);
        ops::files::close_all(&self.files);
        self.agent.calls.forget(self.id);
    }
}

/// Waits until something happens to the descriptor or it is time; false for the latter. A host that has gone is an
/// error: it sends nothing before the reply, so that only its end is of interest.
pub(crate) fn wait_for(
    stream: &File,
    fd: BorrowedFd<'_>,
    events: PollFlags,
    until: Option<Instant>,
) -> Result<bool, SessionError> {
    loop {
        let mut fds = [
            PollFd::new(stream, PollFlags::RDHUP),
            PollFd::from_borrowed_fd(fd, events),
        ];
        let left = until.map(|until| until.saturating_duration_since(Instant::now()));
        let timeout = left.map(sys::timespec);
        match poll(&mut fds, timeout.as_ref()) {
            Ok(0) => return Ok(false),
            Ok(_) if !fds[0].revents().is_empty() => return Err(FrameError::Closed.into()),
            Ok(_) => return Ok(true),
            Err(Errno::INTR) => {}
            // Out of memory is what is left as a cause; it may pass.
            Err(_) => std::thread::sleep(Duration::from_millis(10)),
        }
    }
}

/// The error for a frame out of turn.
pub(crate) fn unexpected(got: &Frame, wanted: &'static str) -> SessionError {
    SessionError::Unexpected {
        got: got.name(),
        wanted,
    }
}
