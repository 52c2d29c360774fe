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
use crate::fds;
use crate::follow::source::StreamSource;
use crate::open_files::OpenFiles;

/// A connection on which the agent has said hello. What it has started and opened ends with it.
pub struct Session {
    pub(crate) stream: File,
    pub(crate) agent: Arc<Agent>,
    /// Number by which the tables know what is this session's.
    pub(crate) id: u64,
    /// Descriptors it has opened for the test.
    pub(crate) files: OpenFiles,
    /// Memory that requests share, empty until one needs it.
    pub(crate) scratch: Vec<u8>,
    after_reply: Option<AfterReply>,
}

/// What is done after the reply that is about to be sent.
pub(crate) enum AfterReply {
    /// End the machine.
    ShutDown { reboot: bool },
    /// Make the connection a stream.
    Follow(Box<dyn StreamSource + Send>),
    /// Leave the connection to the worker it was parked for.
    Leave,
}

impl Session {
    /// A session in which both sides have greeted.
    pub(crate) fn greeted(stream: OwnedFd, agent: &Arc<Agent>) -> Session {
        Session {
            stream: File::from(fds::moved(stream)),
            agent: agent.clone(),
            id: agent.next_session(),
            files: OpenFiles::default(),
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

    /// Waits for the host's welcome.
    pub(crate) fn wait_for_welcome(&mut self) -> Result<(), SessionError> {
        match read_frame(&mut self.stream)? {
            Frame::Welcome(welcome) if welcome.version == VERSION => Ok(()),
            Frame::Welcome(welcome) => Err(SessionError::Version(welcome.version)),
            Frame::Refused(refused) => Err(SessionError::Refused(refused.reason)),
            other => Err(SessionError::unexpected(&other, "a welcome")),
        }
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
        self.agent.programs.end_all_of(self.id);
        self.files.close_all();
        self.agent.calls.forget_all_of(self.id);
    }
}
