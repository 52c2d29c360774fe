//! One request on the wire, with its body, and everything up to its reply.
//!
//! Enters: a welcomed connection, a request, perhaps a body. Leaves: the reply; `Data` that comes before it goes to a
//! sink. A failure that leaves the two sides out of step ends the connection for good. Absent on purpose: what the
//! requests mean.

use std::fmt::Write as _;
use std::io::{Read, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use provium_protocol::{
    BODY, DATA_CHUNK, Frame, OpError, Reply, Request, Response, read_frame, write_data, write_frame,
};

use super::error::{GuestError, beginning, from_frame, from_request};
use super::stream::{Stream, Within};

/// A body up to this size is sent before the answer is read: it fits in any connection's buffers, so that
/// neither side can end up waiting for the other.
const INLINE_BODY: usize = 32 * 1024;

/// The part of the host's memory that the data of one answer may take, and what it may take in any case.
const KEPT_PART: u64 = 8;
const KEPT_ANYWAY: u64 = 256 << 20;
/// Most characters of what is said about an answer that makes no sense.
const LONGEST_COMPLAINT: usize = 200;
/// Most characters of an error that the agent reports.
const LONGEST_MESSAGE: usize = 8192;

/// A connection on which one request after the other is made.
pub(super) struct Exchange {
    stream: Box<dyn Stream>,
    over: Option<String>,
    /// Answers to requests made in advance, which come before any other.
    owed: usize,
    /// Most bytes of data that the answer to one request, or to one batch, may have where they are kept in memory.
    pub(super) kept: u64,
}

/// Requests that go out in one go, ready for the wire.
#[derive(Debug, Default)]
pub(super) struct Piped {
    bytes: Vec<u8>,
    count: usize,
}

impl Piped {
    /// Appends a request and its body; refuses one that does not fit a frame.
    pub(super) fn push(&mut self, request: Request, body: Option<&[u8]>) -> Result<(), GuestError> {
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

/// Takes `Data` frames, channel and bytes; says whether the request has such a channel.
pub(super) type Sink<'a> = dyn FnMut(u8, &[u8]) -> bool + 'a;

/// The sink of a request without data.
pub(super) fn no_data(_channel: u8, _bytes: &[u8]) -> bool {
    false
}

impl Exchange {
    /// A connection past its handshake.
    pub(super) fn new(stream: Box<dyn Stream>) -> Exchange {
        Exchange::resumed(stream, 0)
    }

    /// A connection on which so many answers are still to come.
    pub(super) fn resumed(stream: Box<dyn Stream>, owed: usize) -> Exchange {
        Exchange {
            stream,
            over: None,
            owed,
            kept: kept(),
        }
    }

    /// Answers to requests made in advance that nobody has read yet.
    pub(super) fn owed(&self) -> usize {
        self.owed
    }

    /// The ports of the connection, where it can live on in a snapshot.
    pub(super) fn ports(&self) -> Option<(u32, u32)> {
        self.stream.ports()
    }

    /// Makes a request without a body and does not wait for its answer, which is looked at before that of the next.
    /// `to` is another handle of the connection, whose writes take `limit` at most; a write cut short ends the session.
    pub(super) fn request_in_advance(
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
    fn take_owed(&mut self, limit: &Limit) -> Result<(), GuestError> {
        while self.owed > 0 {
            match answer(&mut *self.stream, limit, &mut 0, &mut no_data) {
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
    pub(super) fn over(&self) -> Option<&str> {
        self.over.as_deref()
    }

    /// One request and all that belongs to it; a failure the session cannot survive is remembered. The answer is here
    /// within `limit`, or the session is over.
    pub(super) fn request(
        &mut self,
        request: Request,
        body: Option<&mut (dyn Read + Send)>,
        limit: Option<Duration>,
        sink: &mut Sink<'_>,
    ) -> Result<Response, GuestError> {
        self.request_for(request, body, limit, self.kept, sink)
    }

    /// The same for an answer whose data may have up to `most` bytes.
    pub(super) fn request_for(
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
        let result = self.exchange(request, body, &Limit::new(limit), most, sink);
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
        limit: &Limit,
        most: u64,
        sink: &mut Sink<'_>,
    ) -> Result<Response, GuestError> {
        self.stream
            .set_write_timeout(limit.whole)
            .map_err(GuestError::Lost)?;
        write_frame(&mut self.stream, &Frame::Request(request))
            .map_err(|error| from_request(error, limit.whole))?;
        // Before any body: it may be long, and the agent reads none of it before it has answered what is owed.
        self.take_owed(limit)?;
        let mut left = most;
        let Some(body) = body else {
            return answer(&mut *self.stream, limit, &mut left, sink);
        };
        let mut first = Vec::new();
        let read = (&mut *body).take(INLINE_BODY as u64).read_to_end(&mut first);
        if read.is_ok() && first.len() == INLINE_BODY {
            return self.exchange_large_body(&mut first.as_slice().chain(body), limit, left, sink);
        }
        // Short, or broken off: what there is goes out, and the agent's answer is still due.
        let sent = send_body(
            &mut self.stream,
            &mut first.as_slice(),
            limit,
            &AtomicBool::new(false),
        );
        let answer = answer(&mut *self.stream, limit, &mut left, sink);
        read.map_err(GuestError::Source).and(sent).and(answer)
    }

    /// Sends the body on a thread of its own while the answer is read here, so that a program that fills its
    /// output before it takes its input stops neither side.
    fn exchange_large_body(
        &mut self,
        body: &mut (dyn Read + Send),
        limit: &Limit,
        mut left: u64,
        sink: &mut Sink<'_>,
    ) -> Result<Response, GuestError> {
        let mut writer = self.stream.try_clone().map_err(GuestError::Lost)?;
        let enough = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let sender = scope.spawn(|| send_body(&mut writer, body, limit, &enough));
            let answer = answer(&mut *self.stream, limit, &mut left, sink);
            enough.store(true, Ordering::Relaxed);
            if matches!(&answer, Err(error) if !error.session_lives()) {
                self.stream.hang_up();
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

    /// Makes requests in one go and reads all their answers; the sink also hears which request the data belongs to.
    pub(super) fn pipeline(
        &mut self,
        requests: Piped,
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
        requests: &Piped,
        sink: &mut dyn FnMut(usize, u8, &[u8]) -> bool,
    ) -> Result<Vec<Reply>, GuestError> {
        self.stream.set_write_timeout(None).map_err(GuestError::Lost)?;
        let (limit, most) = (Limit::new(None), self.kept);
        let mut left = most;
        let mut writer = self.stream.try_clone().map_err(GuestError::Lost)?;
        std::thread::scope(|scope| {
            let sender = scope.spawn(move || writer.write_all(&requests.bytes));
            let mut answers = || {
                self.take_owed(&limit)?;
                let one = |at| match answer(&mut *self.stream, &limit, &mut left, &mut |channel, bytes| {
                    sink(at, channel, bytes)
                }) {
                    Ok(response) => Ok(Ok(response)),
                    Err(GuestError::Endless(_)) => Err(GuestError::Endless(most)),
                    Err(GuestError::Op(error)) => Ok(Err(error)),
                    Err(error) => Err(error),
                };
                (0..requests.count).map(one).collect()
            };
            let answers: Result<Vec<Reply>, GuestError> = answers();
            if answers.is_err() {
                self.stream.hang_up();
            }
            let sent = sender
                .join()
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            // An answer that ended the session says more than the write that failed because of it.
            answers.and_then(|answers| sent.map(|()| answers).map_err(GuestError::Lost))
        })
    }

    /// The connection, for what comes after the last request on it.
    pub(super) fn into_stream(self) -> Box<dyn Stream> {
        self.stream
    }

    /// Ends the connection because of an answer that makes no sense.
    pub(super) fn unexpected(&mut self, wanted: &str, got: &Response) -> GuestError {
        let mut text = Beginning(format!("expected {wanted}, got "));
        // Fails when it is full, which is as much as is wanted.
        let _ = write!(text, "{got:?}");
        self.broken(text.0)
    }

    /// The same, in other words.
    pub(super) fn broken(&mut self, what: String) -> GuestError {
        let error = GuestError::Protocol(beginning(&what, LONGEST_COMPLAINT));
        self.over = Some(error.to_string());
        error
    }
}

/// How long a request may take, all of it together.
struct Limit {
    whole: Option<Duration>,
    until: Option<Instant>,
}

impl Limit {
    /// From now on.
    fn new(whole: Option<Duration>) -> Limit {
        Limit {
            whole,
            until: whole.and_then(|limit| Instant::now().checked_add(limit)),
        }
    }
}

/// The beginning of what is written to it.
struct Beginning(String);

impl std::fmt::Write for Beginning {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        if self.0.len() > LONGEST_COMPLAINT {
            return Err(std::fmt::Error);
        }
        self.0.push_str(&beginning(text, LONGEST_COMPLAINT));
        Ok(())
    }
}

/// What an agent sends without end must not take all the memory that the host has.
fn kept() -> u64 {
    let system = rustix::system::sysinfo();
    let total = system.totalram.saturating_mul(system.mem_unit.into());
    (total / KEPT_PART).max(KEPT_ANYWAY)
}

/// Reads frames until the reply; `left` is how many bytes of data may still come before it.
fn answer(
    stream: &mut dyn Stream,
    limit: &Limit,
    left: &mut u64,
    sink: &mut Sink<'_>,
) -> Result<Response, GuestError> {
    let most = *left;
    let mut reader = Within::new(stream, limit.until).map_err(GuestError::Lost)?;
    loop {
        match read_frame(&mut reader).map_err(|error| from_frame(error, limit.whole))? {
            Frame::Data { channel, bytes } if sink(channel, &bytes) => {
                *left = left
                    .checked_sub(bytes.len() as u64)
                    .ok_or(GuestError::Endless(most))?;
            }
            Frame::Data { channel, .. } => {
                return Err(GuestError::Protocol(format!(
                    "data came on channel {channel}, which this request does not have"
                )));
            }
            Frame::End { .. } => {}
            Frame::Reply(reply) => {
                return reply.map_err(|error| {
                    GuestError::Op(OpError {
                        message: beginning(&error.message, LONGEST_MESSAGE),
                        ..error
                    })
                });
            }
            other => {
                return Err(GuestError::Protocol(format!(
                    "{} came where a reply was due",
                    other.name()
                )));
            }
        }
    }
}

/// Sends a body and its end; stops early once the answer is here. A source that fails still gets its end, so
/// that the session goes on.
fn send_body(
    stream: &mut impl Write,
    body: &mut (dyn Read + Send),
    limit: &Limit,
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
