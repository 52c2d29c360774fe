//! The host's side of a session with the agent: one request at a time, each with its answer.
//!
//! Enters: a [`Stream`] the agent opened or accepted, then calls. Leaves: what the guest did, as plain data. The calls
//! are grouped by what they are about, a file each. Absent on purpose: machines, Lua, and any idea of how long a request
//! may take; a caller that must not wait for ever kills the machine, which ends every call at once.

mod batch;
mod files;
mod follow;
mod process;
mod syscall;
mod worker;

use std::io::{Read, Write};
use std::time::{Duration, Instant};

use provium_protocol::{
    Frame, Hello, MAGIC, Refused, Request, Response, Resumed, VERSION, Welcome, read_frame, write_frame,
};

pub use self::batch::{BatchAnswer, BatchOp};
pub use self::follow::{Came, Following};
pub use self::process::{EnvVar, ExecOutcome, ExecSpec, Piece, Started, Waited};
pub use self::syscall::SyscallResult;
pub use self::worker::{Parked, Spawned};
use super::error::{GuestError, beginning, from_frame};
use super::exchange::{Exchange, no_data};
use super::stream::{Stream, Within};

/// The grace of every session.
const GRACE: Duration = Duration::from_secs(30);

/// A session with an agent.
pub struct GuestClient {
    pub(super) exchange: Exchange,
    pid: u32,
    /// How long past a request's own timeout its answer may take before the agent counts as lost.
    pub(super) grace: Duration,
    /// Programs that were started here and are not known to be gone.
    started: std::collections::BTreeSet<u64>,
}

impl std::fmt::Debug for GuestClient {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("GuestClient")
            .field("pid", &self.pid)
            .field("over", &self.exchange.over())
            .finish_non_exhaustive()
    }
}

impl GuestClient {
    /// Takes the agent's hello and welcomes or refuses it; `limit` bounds the wait for it.
    pub fn handshake(stream: Box<dyn Stream>, limit: Duration) -> Result<GuestClient, GuestError> {
        let mut stream = stream;
        let limit = Some(limit);
        stream.set_write_timeout(limit).map_err(GuestError::Lost)?;
        let until = limit.and_then(|limit| Instant::now().checked_add(limit));
        let mut reader = Within::new(&mut *stream, until).map_err(GuestError::Lost)?;
        let hello = match read_frame(&mut reader).map_err(|error| from_frame(error, limit))? {
            Frame::Hello(hello) => hello,
            other => {
                return Err(GuestError::Stranger(format!(
                    "its first words were {}",
                    other.name()
                )));
            }
        };
        if let Some(error) = objection(&hello) {
            // The refusal is a courtesy to the guest's log; the caller learns the reason either way.
            let _ = write_frame(
                &mut stream,
                &Frame::Refused(Refused {
                    reason: error.to_string(),
                }),
            );
            return Err(error);
        }
        write_frame(&mut stream, &Frame::Welcome(Welcome { version: VERSION }))
            .map_err(|error| from_frame(error, limit))?;
        Ok(GuestClient {
            exchange: Exchange::new(stream),
            pid: hello.pid,
            grace: GRACE,
            started: Default::default(),
        })
    }

    /// Goes on with a session that lived through a snapshot, with as many answers still to come as were
    /// [`owed`](Self::owed) then.
    pub(super) fn resumed(stream: Box<dyn Stream>, pid: u32, owed: usize) -> GuestClient {
        GuestClient {
            exchange: Exchange::resumed(stream, owed),
            pid,
            grace: GRACE,
            started: Default::default(),
        }
    }

    /// Tells the guest what it cannot know, through a handle of the same connection whose writes take `limit` at most.
    /// The answer is looked at before that of the next request.
    pub(super) fn tell(
        &mut self,
        news: Resumed,
        to: &mut impl Write,
        limit: Duration,
    ) -> Result<(), GuestError> {
        self.exchange
            .request_in_advance(Request::Resumed(news), to, limit)
    }

    /// Answers that nobody has read yet.
    pub(super) fn owed(&self) -> usize {
        self.exchange.owed()
    }

    /// The ports of the session's connection, by which it is found again in a resumed machine.
    /// None once no more requests can be made on it.
    pub(super) fn ports(&self) -> Option<(u32, u32)> {
        match self.exchange.over() {
            Some(_) => None,
            None => self.exchange.ports(),
        }
    }

    /// Process id, in the guest, of what answers this session.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// There and back, nothing else.
    pub fn ping(&mut self) -> Result<(), GuestError> {
        self.done(Request::Ping)
    }

    /// The same, with a limit.
    pub(super) fn ping_within(&mut self, limit: Duration) -> Result<(), GuestError> {
        let response = self
            .exchange
            .request(Request::Ping, None, Some(limit), &mut no_data)?;
        self.is_done(response)
    }

    /// Asks the guest to power off (or to restart) in order; returns when it has begun to.
    pub fn shutdown(&mut self, reboot: bool) -> Result<(), GuestError> {
        self.done(Request::Shutdown { reboot })
    }

    /// A request without data either way.
    fn ask(&mut self, request: Request) -> Result<Response, GuestError> {
        self.exchange.request(request, None, None, &mut no_data)
    }

    /// A request with a body and no data back.
    fn send(&mut self, request: Request, body: &mut (dyn Read + Send)) -> Result<Response, GuestError> {
        self.exchange.request(request, Some(body), None, &mut no_data)
    }

    /// A request that there is nothing to say about.
    fn done(&mut self, request: Request) -> Result<(), GuestError> {
        let response = self.ask(request)?;
        self.is_done(response)
    }

    fn is_done(&mut self, response: Response) -> Result<(), GuestError> {
        match response {
            Response::Done => Ok(()),
            other => Err(self.exchange.unexpected("no more than that it is done", &other)),
        }
    }
}

/// Why a hello is not accepted, if it is not.
fn objection(hello: &Hello) -> Option<GuestError> {
    if hello.magic != MAGIC {
        return Some(GuestError::Stranger(format!(
            "it introduced itself as {:?}",
            beginning(&hello.magic, 40)
        )));
    }
    (hello.version != VERSION).then(|| GuestError::Version {
        theirs: hello.version,
        build: beginning(&hello.build, 40),
    })
}
