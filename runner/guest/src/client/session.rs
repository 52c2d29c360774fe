//! A session with the agent: one request at a time, each with its answer.
//!
//! Input: a [`Connection`] the agent opened or accepted, then operations. Output: what each came to, as plain
//! data. Not here: machines, Lua, and any idea of how long a request may take; a caller that must not wait
//! for ever kills the machine, which ends every call at once.

use std::io::{Read, Write};
use std::time::{Duration, Instant};

use provium_protocol::{
    Frame, Hello, MAGIC, Refused, Request, Resumed, VERSION, Welcome, read_frame, write_frame,
};

use super::op::{Answer, AnswerData, Op, is_done};
use crate::error::{GuestError, beginning, from_frame};
use crate::wire::answer::no_data;
use crate::wire::breaker::Breaker;
use crate::wire::exchange::Exchange;
use crate::wire::stream::{Connection, DeadlineReader};

/// The grace of every session.
const GRACE: Duration = Duration::from_secs(30);

/// A session with an agent.
pub struct GuestClient {
    pub(crate) exchange: Exchange,
    pub(super) pid: u32,
    pub(crate) breaker: Breaker,
    /// How long past a request's own timeout its answer may take before the agent counts as lost.
    pub(crate) grace: Duration,
    /// Most time that any answer may take, if there is such a limit.
    most: Option<Duration>,
    /// Programs that were started here and are not known to be gone.
    pub(super) started: std::collections::BTreeSet<u64>,
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
    pub fn handshake(connection: Box<dyn Connection>, limit: Duration) -> Result<GuestClient, GuestError> {
        let mut connection = connection;
        let limit = Some(limit);
        connection.set_write_timeout(limit).map_err(GuestError::Lost)?;
        let until = limit.and_then(|limit| Instant::now().checked_add(limit));
        let mut reader = DeadlineReader::new(&mut *connection, until).map_err(GuestError::Lost)?;
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
                &mut connection,
                &Frame::Refused(Refused {
                    reason: error.to_string(),
                }),
            );
            return Err(error);
        }
        write_frame(&mut connection, &Frame::Welcome(Welcome { version: VERSION }))
            .map_err(|error| from_frame(error, limit))?;
        Ok(GuestClient {
            breaker: Breaker::new(&*connection),
            exchange: Exchange::new(connection),
            pid: hello.pid,
            grace: GRACE,
            most: None,
            started: Default::default(),
        })
    }

    /// Bits of the kernel's taint (`/proc/sys/kernel/tainted`) that answers have told of, each once.
    pub fn take_taint(&mut self) -> u64 {
        self.exchange.take_taint()
    }

    /// Goes on with a session that lived through a snapshot, with as many answers still to come as were
    /// [`owed`](Self::owed) then.
    pub(crate) fn resumed(connection: Box<dyn Connection>, pid: u32, owed: usize) -> GuestClient {
        GuestClient {
            breaker: Breaker::new(&*connection),
            exchange: Exchange::resumed(connection, owed),
            pid,
            grace: GRACE,
            most: None,
            started: Default::default(),
        }
    }

    /// Tells the guest what it cannot know, through a handle of the same connection whose writes take `limit`
    /// at most. The answer is looked at before that of the next request.
    pub(crate) fn tell(
        &mut self,
        news: Resumed,
        to: &mut impl Write,
        limit: Duration,
    ) -> Result<(), GuestError> {
        self.exchange
            .request_in_advance(Request::Resumed(news), to, limit)
    }

    /// Answers that nobody has read yet.
    pub(crate) fn owed(&self) -> usize {
        self.exchange.owed()
    }

    /// The ports of the session's connection, by which it is found again in a resumed machine.
    /// None once no more requests can be made on it.
    pub(crate) fn ports(&self) -> Option<(u32, u32)> {
        match self.exchange.over() {
            Some(_) => None,
            None => self.exchange.ports(),
        }
    }

    /// Process id, in the guest, of what answers this session.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Makes an operation and waits for what it comes to.
    pub fn ask<T>(&mut self, mut op: Op<T>) -> Result<T, GuestError> {
        let body = op.body.take();
        let mut body = body.as_deref();
        let body = body.as_mut().map(|body| body as &mut (dyn Read + Send));
        self.make(op, body)
    }

    /// The same session, over as soon as an answer takes longer than this.
    pub(crate) fn answering_within(mut self, limit: Duration) -> GuestClient {
        self.most = Some(limit);
        self
    }

    /// The same with all that `body` has as the request's body, which need not fit into memory.
    pub fn ask_with<T>(&mut self, op: Op<T>, body: &mut (dyn Read + Send)) -> Result<T, GuestError> {
        self.make(op, Some(body))
    }

    fn make<T>(&mut self, op: Op<T>, body: Option<&mut (dyn Read + Send)>) -> Result<T, GuestError> {
        let mut data = AnswerData::new(op.data);
        // The answer may be a little behind the end of the operation itself.
        let limit = op.limit.map(|limit| limit.saturating_add(self.grace));
        let limit = self.most.or(limit);
        let most = op.most.unwrap_or(u64::MAX).min(self.exchange.most_data);
        let response = self
            .exchange
            .request_for(op.request?, body, limit, most, &mut |channel, bytes| {
                data.take(channel, bytes)
            })
            .map_err(op.explain)?;
        (op.decode)(Answer { response, data }).map_err(|what| self.exchange.broken(what))
    }

    /// There and back, nothing else.
    pub fn ping(&mut self) -> Result<(), GuestError> {
        self.ask(Op::done(Request::Ping))
    }

    /// The same, with a limit.
    pub(crate) fn ping_within(&mut self, limit: Duration) -> Result<(), GuestError> {
        self.done_within(Request::Ping, limit)
    }

    /// A request that there is nothing to say about, whose answer is here within `limit`.
    fn done_within(&mut self, request: Request, limit: Duration) -> Result<(), GuestError> {
        let response = self.exchange.request(request, None, Some(limit), &mut no_data)?;
        is_done(&response).map_err(|what| self.exchange.broken(what))
    }

    /// Makes this session go on for another whose thread the guest's kernel has ended: what that had started
    /// and opened is this one's from now on.
    pub fn take_over(&mut self, other: &mut GuestClient, tid: u32) -> Result<(), GuestError> {
        self.ask(Op::done(Request::TakeOver { tid }))?;
        self.started.append(&mut other.started);
        Ok(())
    }

    /// Asks the guest to power off (or to restart) in order; returns when it has begun to, within `limit`.
    pub fn shutdown(&mut self, reboot: bool, limit: Duration) -> Result<(), GuestError> {
        self.done_within(Request::Shutdown { reboot }, limit)
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
