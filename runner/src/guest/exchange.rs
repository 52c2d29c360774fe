//! One request on the wire, with its body, and everything up to its reply.
//!
//! Enters: a welcomed connection, a request, perhaps a body. Leaves: the reply; `Data` that comes before it goes to a
//! sink. A failure that leaves the two sides out of step ends the connection for good. Absent on purpose: what the
//! requests mean.

use std::io::{Read, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use provium_protocol::{
    BODY, DATA_CHUNK, Frame, Reply, Request, Response, read_frame, write_data, write_frame,
};

use super::error::{GuestError, from_frame, from_request};
use super::stream::Stream;

/// A body up to this size is sent before the answer is read: it fits in any connection's buffers, so that
/// neither side can end up waiting for the other.
const INLINE_BODY: usize = 32 * 1024;

/// A connection on which one request after the other is made.
pub(super) struct Exchange {
    stream: Box<dyn Stream>,
    over: Option<String>,
    /// Answers to requests made in advance, which come before any other.
    owed: usize,
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
    fn take_owed(&mut self, limit: Option<Duration>) -> Result<(), GuestError> {
        while self.owed > 0 {
            match answer(&mut self.stream, limit, &mut no_data) {
                Ok(_) => {}
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

    /// One request and all that belongs to it; a failure the session cannot survive is remembered.
    pub(super) fn request(
        &mut self,
        request: Request,
        body: Option<&mut (dyn Read + Send)>,
        limit: Option<Duration>,
        sink: &mut Sink<'_>,
    ) -> Result<Response, GuestError> {
        if let Some(why) = &self.over {
            return Err(GuestError::Over(why.clone()));
        }
        let result = self.exchange(request, body, limit, sink);
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
        limit: Option<Duration>,
        sink: &mut Sink<'_>,
    ) -> Result<Response, GuestError> {
        self.stream.set_read_timeout(limit).map_err(GuestError::Lost)?;
        write_frame(&mut self.stream, &Frame::Request(request))
            .map_err(|error| from_request(error, limit))?;
        // Before any body: it may be long, and the agent reads none of it before it has answered what is owed.
        self.take_owed(limit)?;
        let Some(body) = body else {
            return answer(&mut self.stream, limit, sink);
        };
        let mut first = Vec::new();
        let read = (&mut *body).take(INLINE_BODY as u64).read_to_end(&mut first);
        if read.is_ok() && first.len() == INLINE_BODY {
            return self.exchange_large_body(&mut first.as_slice().chain(body), limit, sink);
        }
        // Short, or broken off: what there is goes out, and the agent's answer is still due.
        let sent = send_body(&mut self.stream, &mut first.as_slice(), &AtomicBool::new(false));
        let answer = answer(&mut self.stream, limit, sink);
        read.map_err(GuestError::Source).and(sent).and(answer)
    }

    /// Sends the body on a thread of its own while the answer is read here, so that a program that fills its
    /// output before it takes its input stops neither side.
    fn exchange_large_body(
        &mut self,
        body: &mut (dyn Read + Send),
        limit: Option<Duration>,
        sink: &mut Sink<'_>,
    ) -> Result<Response, GuestError> {
        let mut writer = self.stream.try_clone().map_err(GuestError::Lost)?;
        let enough = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let sender = scope.spawn(|| send_body(&mut writer, body, &enough));
            let answer = answer(&mut self.stream, limit, sink);
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
        self.stream.set_read_timeout(None).map_err(GuestError::Lost)?;
        let mut writer = self.stream.try_clone().map_err(GuestError::Lost)?;
        std::thread::scope(|scope| {
            let sender = scope.spawn(move || writer.write_all(&requests.bytes));
            let mut answers = || {
                self.take_owed(None)?;
                let one = |at| match answer(&mut self.stream, None, &mut |channel, bytes| {
                    sink(at, channel, bytes)
                }) {
                    Ok(response) => Ok(Ok(response)),
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
        self.broken(format!("expected {wanted}, got {got:?}"))
    }

    /// The same, in other words.
    pub(super) fn broken(&mut self, what: String) -> GuestError {
        let error = GuestError::Protocol(what.chars().take(200).collect());
        self.over = Some(error.to_string());
        error
    }
}

/// Reads frames until the reply.
fn answer(
    stream: &mut impl Read,
    limit: Option<Duration>,
    sink: &mut Sink<'_>,
) -> Result<Response, GuestError> {
    loop {
        match read_frame(stream).map_err(|error| from_frame(error, limit))? {
            Frame::Data { channel, bytes } if sink(channel, &bytes) => {}
            Frame::Data { channel, .. } => {
                return Err(GuestError::Protocol(format!(
                    "data came on channel {channel}, which this request does not have"
                )));
            }
            Frame::End { .. } => {}
            Frame::Reply(reply) => return reply.map_err(GuestError::Op),
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
    enough: &AtomicBool,
) -> Result<(), GuestError> {
    let mut chunk = vec![0; DATA_CHUNK];
    let mut source = Ok(());
    while !enough.load(Ordering::Relaxed) {
        match body.read(&mut chunk) {
            Ok(0) => break,
            Ok(n) => write_data(stream, BODY, &chunk[..n]).map_err(|error| from_frame(error, None))?,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => {
                source = Err(GuestError::Source(error));
                break;
            }
        }
    }
    write_frame(stream, &Frame::End { channel: BODY }).map_err(|error| from_frame(error, None))?;
    source
}
