//! A session: one connection to the host, what it has opened and started, and the greeting.
//!
//! Input: a connected stream socket.
//! Output: a session in which the agent has said hello. What it has started and opened ends with it.
//! Not here: requests (`serve`), where the connection comes from, what to do when it ends.

use std::fs::File;
use std::sync::Arc;

use provium_protocol::{Frame, Hello, MAGIC, VERSION, read_frame, write_frame};
use rustix::fd::OwnedFd;

use crate::agent::Agent;
use crate::connection::SessionError;
use crate::estate::Estate;
use crate::fds;
use crate::follow::source::StreamSource;
use crate::process::attached::Attached;

/// A connection on which the agent has said hello. What it has started and opened ends with it.
pub struct Session {
    pub(crate) stream: Arc<File>,
    pub(crate) agent: Arc<Agent>,
    pub(crate) estate: Arc<Estate>,
    /// Memory that requests share, empty until one needs it.
    pub(crate) scratch: Vec<u8>,
    after_reply: Option<AfterReply>,
}

/// What is done after the reply that is about to be sent.
pub(crate) enum AfterReply {
    /// End the machine.
    ShutDown { reboot: bool },
    /// Give the connection to a program.
    Attach(Attached),
    /// Make the connection a stream.
    Follow(Box<dyn StreamSource + Send>),
    /// Leave the connection to the worker it was parked for.
    Leave,
}

impl Session {
    /// A session in which both sides have greeted.
    pub(crate) fn greeted(stream: OwnedFd, agent: &Arc<Agent>) -> Session {
        Session {
            stream: Arc::new(File::from(fds::moved(stream))),
            agent: agent.clone(),
            estate: Arc::new(Estate::new(agent.next_session())),
            scratch: Vec::new(),
            after_reply: None,
        }
    }

    /// Says hello.
    pub fn open(stream: OwnedFd, agent: &Arc<Agent>) -> Result<Session, SessionError> {
        let mut session = Session::greeted(stream, agent);
        let hello = Hello {
            magic: MAGIC.to_owned(),
            version: VERSION,
            build: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
        };
        write_frame(&mut session.stream, &Frame::Hello(hello))?;
        Ok(session)
    }

    /// The same as the host's own session: what it has outlives the thread that serves it, should the kernel
    /// end that, until another session takes over.
    pub fn kept(self) -> Session {
        self.estate.keep();
        self
    }

    /// Waits for the host's welcome.
    pub(crate) fn wait_for_welcome(&mut self) -> Result<(), SessionError> {
        match read_frame(&mut self.stream)? {
            Frame::Welcome(welcome) if welcome.version == VERSION => Ok(()),
            Frame::Welcome(welcome) => Err(SessionError::Version(welcome.version)),
            Frame::Refused(refused) => Err(SessionError::Refused(refused.reason)),
            other => Err(SessionError::unexpected(&other, "a welcome")),
        }
    }

    /// Number by which the tables know what is this session's.
    pub(crate) fn id(&self) -> u64 {
        self.estate.id()
    }

    /// Has something done after the reply to the request that is being handled.
    pub(crate) fn after_reply(&mut self, then: AfterReply) {
        self.after_reply = Some(then);
    }

    /// Takes what is to be done after the reply that was sent.
    pub(crate) fn take_after_reply(&mut self) -> Option<AfterReply> {
        self.after_reply.take()
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.estate.end(&self.agent);
    }
}
