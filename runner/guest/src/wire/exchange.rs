//! One request on the wire, with its body, and everything up to its reply.
//!
//! Input: a welcomed connection, a request, perhaps a body. Output: the reply; `Data` that comes before it
//! goes to a sink. A failure that leaves the two sides out of step ends the connection for good. Not here:
//! what the requests mean.

use std::io::{Read, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use provium_protocol::{BODY, DATA_CHUNK, Frame, OpError, Reply, Request, Response, write_data, write_frame};

use super::answer::{Sink, TimeLimit, complaint, memory_limit, mismatch, no_data, read_answer};
use super::stream::Connection;
use crate::error::{GuestError, from_frame, from_request};

/// A body up to this size is sent before the answer is read: it fits in any connection's buffers, so that
/// neither side can end up waiting for the other.
const INLINE_BODY: usize = 32 * 1024;

/// A connection on which one request after the other is made.
pub(crate) struct Exchange {
    connection: Box<dyn Connection>,
    over: Option<String>,
    /// Answers to requests made in advance, which come before any other.
    owed: usize,
    /// Bits of the kernel's taint that are new since somebody took them.
    taint: u64,
    /// Most bytes of data that the answer to one request, or to one batch, may have where they are kept in
    /// memory.
    pub(crate) most_data: u64,
}

/// Requests that go out in one go, ready for the wire.
#[derive(Debug, Default)]
pub(crate) struct Pipeline {
    bytes: Vec<u8>,
    count: usize,
}

impl Pipeline {
    /// Appends a request and its body; refuses one that does not fit a frame.
    pub(crate) fn push(&mut self, request: Request, body: Option<&[u8]>) -> Result<(), GuestError> {
        write_frame(&mut self.bytes, &Frame::Request(request)).map_err(|error| from_request(error, None))?;
        if let Some(body) = body {
            write_data(&mut self.bytes, BODY, body).map_err(|error| from_frame(error, None))?;
            write_frame(&mut self.bytes, &Frame::End { channel: BODY })
                .map_err(|error| from_frame(error, None))?;
        }
        self.count += 1;
        Ok(())
    }
}

impl Exchange {
    /// A connection past its handshake.
    pub(crate) fn new(connection: Box<dyn Connection>) -> Exchange {
        Exchange::resumed(connection, 0)
    }

    /// A connection on which so many answers are still to come.
    pub(crate) fn resumed(connection: Box<dyn Connection>, owed: usize) -> Exchange {
        Exchange {
            connection,
            over: None,
            owed,
            taint: 0,
            most_data: memory_limit(),
        }
    }

    /// Answers to requests made in advance that nobody has read yet.
    pub(crate) fn owed(&self) -> usize {
        self.owed
    }

    /// Bits of the kernel's taint that answers have told of, each once.
    pub(crate) fn take_taint(&mut self) -> u64 {
        std::mem::take(&mut self.taint)
    }

    /// The ports of the connection, where it can live on in a snapshot.
    pub(crate) fn ports(&self) -> Option<(u32, u32)> {
        self.connection.ports()
    }

    /// Makes a request without a body and does not wait for its answer, which is looked at before that of the
    /// next. `to` is another handle of the connection, whose writes take `limit` at most; a write cut short
    /// ends the session.
    pub(crate) fn request_in_advance(
        &mut self,
        request: Request,
        to: &mut impl Write,
        limit: Duration,
    ) -> Result<(), GuestError> {
        let sent =
            write_frame(to, &Frame::Request(request)).map_err(|error| from_request(error, Some(limit)));
        match &sent {
            Ok(()) => self.owed += 1,
            Err(error) => self.over = Some(error.to_string()),
        }
        sent
    }

    /// Takes the answers that are owed. A failure is nothing the next request could help.
    fn take_owed(&mut self, limit: &TimeLimit) -> Result<(), GuestError> {
        while self.owed > 0 {
            match read_answer(
                &mut *self.connection,
                limit,
                &mut 0,
                &mut self.taint,
                &mut no_data,
            ) {
                Ok(Response::Done) => {}
                Ok(other) => return Err(self.unexpected("no more than that it is done", &other)),
                Err(GuestError::Op(error)) => {
                    tracing::warn!(error = error.message, "a request made in advance failed");
                }
                Err(error) => return Err(error),
            }
            self.owed -= 1;
        }
        Ok(())
    }

    /// Why no more requests can be made, if so.
    pub(crate) fn over(&self) -> Option<&str> {
        self.over.as_deref()
    }

    /// One request and all that belongs to it; a failure the session cannot survive is remembered. The answer
    /// is here within `limit`, or the session is over.
    pub(crate) fn request(
        &mut self,
        request: Request,
        body: Option<&mut (dyn Read + Send)>,
        limit: Option<Duration>,
        sink: &mut Sink<'_>,
    ) -> Result<Response, GuestError> {
        self.request_for(request, body, limit, self.most_data, sink)
    }

    /// The same for an answer whose data may have up to `most` bytes.
    pub(crate) fn request_for(
        &mut self,
        request: Request,
        body: Option<&mut (dyn Read + Send)>,
        limit: Option<Duration>,
        most: u64,
        sink: &mut Sink<'_>,
    ) -> Result<Response, GuestError> {
        if let Some(why) = &self.over {
            return Err(GuestError::Over(why.clone()));
        }
        let result = self.exchange(request, body, &TimeLimit::new(limit), most, sink);
        if let Err(error) = &result
            && !error.session_lives()
        {
            self.over = Some(error.to_string());
        }
        result
    }

    fn exchange(
        &mut self,
        request: Request,
        body: Option<&mut (dyn Read + Send)>,
        limit: &TimeLimit,
        most: u64,
        sink: &mut Sink<'_>,
    ) -> Result<Response, GuestError> {
        self.connection
            .set_write_timeout(limit.whole)
            .map_err(GuestError::Lost)?;
        if body.is_none() && self.owed == 0 && request.is_answered_at_once() {
            self.connection.ask();
        }
        write_frame(&mut self.connection, &Frame::Request(request))
            .map_err(|error| from_request(error, limit.whole))?;
        // Before any body: it may be long, and the agent reads none of it before it has answered what is
        // owed.
        self.take_owed(limit)?;
        let mut left = most;
        let Some(body) = body else {
            return read_answer(&mut *self.connection, limit, &mut left, &mut self.taint, sink);
        };
        let mut first = Vec::new();
        let read = (&mut *body).take(INLINE_BODY as u64).read_to_end(&mut first);
        if read.is_ok() && first.len() == INLINE_BODY {
            return self.exchange_large_body(&mut first.as_slice().chain(body), limit, left, sink);
        }
        // Short, or broken off: what there is goes out, and the agent's answer is still due.
        let sent = send_body(
            &mut self.connection,
            &mut first.as_slice(),
            limit,
            &AtomicBool::new(false),
        );
        let answer = read_answer(&mut *self.connection, limit, &mut left, &mut self.taint, sink);
        read.map_err(GuestError::Source).and(sent).and(answer)
    }

    /// Sends the body on a thread of its own while the answer is read here, so that a program that fills its
    /// output before it takes its input stops neither side.
    fn exchange_large_body(
        &mut self,
        body: &mut (dyn Read + Send),
        limit: &TimeLimit,
        mut left: u64,
        sink: &mut Sink<'_>,
    ) -> Result<Response, GuestError> {
        let mut writer = self.connection.try_clone().map_err(GuestError::Lost)?;
        let enough = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let sender = scope.spawn(|| send_body(&mut writer, body, limit, &enough));
            let answer = read_answer(&mut *self.connection, limit, &mut left, &mut self.taint, sink);
            enough.store(true, Ordering::Relaxed);
            if matches!(&answer, Err(error) if !error.session_lives()) {
                self.connection.hang_up();
            }
            let sent = sender
                .join()
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            match (sent, answer) {
                // An answer that ended the session says more than the write that failed because of it.
                (_, Err(error)) if !error.session_lives() => Err(error),
                (Err(error), _) => Err(error),
                (Ok(()), answer) => answer,
            }
        })
    }

    /// Makes requests in one go and reads all their answers; the sink also hears which request the data
    /// belongs to.
    pub(crate) fn pipeline(
        &mut self,
        requests: Pipeline,
        sink: &mut dyn FnMut(usize, u8, &[u8]) -> bool,
    ) -> Result<Vec<Reply>, GuestError> {
        if let Some(why) = &self.over {
            return Err(GuestError::Over(why.clone()));
        }
        let result = self.exchange_many(&requests, sink);
        if let Err(error) = &result {
            self.over = Some(error.to_string());
        }
        result
    }

    fn exchange_many(
        &mut self,
        requests: &Pipeline,
        sink: &mut dyn FnMut(usize, u8, &[u8]) -> bool,
    ) -> Result<Vec<Reply>, GuestError> {
        self.connection
            .set_write_timeout(None)
            .map_err(GuestError::Lost)?;
        let (limit, most) = (TimeLimit::new(None), self.most_data);
        let mut left = most;
        let mut writer = self.connection.try_clone().map_err(GuestError::Lost)?;
        std::thread::scope(|scope| {
            let sender = scope.spawn(move || writer.write_all(&requests.bytes));
            let mut answers = || {
                self.take_owed(&limit)?;
                let one = |at| match read_answer(
                    &mut *self.connection,
                    &limit,
                    &mut left,
                    &mut self.taint,
                    &mut |channel, bytes| sink(at, channel, bytes),
                ) {
                    Ok(response) => Ok(Ok(response)),
                    Err(GuestError::Endless(_)) => Err(GuestError::Endless(most)),
                    Err(GuestError::Op(error)) => Ok(Err(error)),
                    Err(error) if error.session_lives() => Ok(Err(OpError {
                        errno: None,
                        message: error.to_string(),
                    })),
                    Err(error) => Err(error),
                };
                (0..requests.count).map(one).collect()
            };
            let answers: Result<Vec<Reply>, GuestError> = answers();
            if answers.is_err() {
                self.connection.hang_up();
            }
            let sent = sender
                .join()
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            // An answer that ended the session says more than the write that failed because of it.
            answers.and_then(|answers| sent.map(|()| answers).map_err(GuestError::Lost))
        })
    }

    /// The connection, for what comes after the last request on it.
    pub(crate) fn into_connection(self) -> Box<dyn Connection> {
        self.connection
    }

    /// Ends the connection because of an answer that makes no sense.
    pub(crate) fn unexpected(&mut self, wanted: &str, got: &Response) -> GuestError {
        self.broken(mismatch(wanted, got))
    }

    /// The same, in other words.
    pub(crate) fn broken(&mut self, what: String) -> GuestError {
        let error = GuestError::Protocol(complaint(&what));
        self.over = Some(error.to_string());
        error
    }
}

/// Sends a body and its end; stops early once the answer is here. A source that fails still gets its end, so
/// that the session goes on.
fn send_body(
    stream: &mut impl Write,
    body: &mut (dyn Read + Send),
    limit: &TimeLimit,
    enough: &AtomicBool,
) -> Result<(), GuestError> {
    let mut chunk = vec![0; DATA_CHUNK];
    let mut source = Ok(());
    while !enough.load(Ordering::Relaxed) {
        match body.read(&mut chunk) {
            Ok(0) => break,
            Ok(n) => write_data(stream, BODY, &chunk[..n]).map_err(|error| from_frame(error, limit.whole))?,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => {
                source = Err(GuestError::Source(error));
                break;
            }
        }
    }
    write_frame(stream, &Frame::End { channel: BODY }).map_err(|error| from_frame(error, limit.whole))?;
    source
}
