//! One typed operation of the agent: a request, the data it goes with, and how its answer is read.
//!
//! Input: a request of the protocol and a decoder. Output: an [`Op`], which [`GuestClient::ask`] makes alone
//! and [`GuestClient::batch`] makes together with others; a worker is a client as well. Each operation is
//! written once, as a function that returns its `Op`, in the file of what it is about. Not here: operations
//! after which the connection is something else, or whose handle the client has to remember; those are
//! methods of the client.
//!
//! [`GuestClient::ask`]: super::session::GuestClient::ask
//! [`GuestClient::batch`]: super::session::GuestClient::batch

use std::convert::identity;
use std::fmt;
use std::time::Duration;

use provium_protocol::{BODY, Request, Response, STDERR, STDOUT};

use crate::error::GuestError;
use crate::wire::answer::mismatch;

/// Reads an answer; an error says what makes no sense about it.
pub(crate) type Decode<T> = Box<dyn FnOnce(Answer) -> Result<T, String> + Send>;

/// Adds to the agent's own error what only the caller knows.
pub(crate) type Explain = fn(GuestError) -> GuestError;

/// An operation that comes to a `T`.
pub struct Op<T> {
    /// The request, or why it fits no frame.
    pub(crate) request: Result<Request, GuestError>,
    /// The request's body.
    pub(crate) body: Option<Vec<u8>>,
    /// The data that comes before the reply.
    pub(crate) data: DataKind,
    /// The time that the operation itself takes at most.
    pub(crate) limit: Option<Duration>,
    /// Most bytes of data that its answer may have, where that is less than what the session takes.
    pub(crate) most: Option<u64>,
    /// Reads the answer.
    pub(crate) decode: Decode<T>,
    /// Explains a failure.
    pub(crate) explain: Explain,
}

/// The channels on which data comes before a reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DataKind {
    /// None.
    Nothing,
    /// Content, on [`BODY`].
    Content,
    /// A program's output, on [`STDOUT`] and [`STDERR`].
    Output,
}

/// What came back: data, then the reply.
#[derive(Debug)]
pub(crate) struct Answer {
    /// The reply.
    pub(crate) response: Response,
    /// What came before it.
    pub(crate) data: AnswerData,
}

/// The data of an answer, collected as it comes.
#[derive(Debug)]
pub(crate) struct AnswerData {
    kind: DataKind,
    /// Content, or standard output.
    pub(crate) main: Vec<u8>,
    /// Standard error.
    pub(crate) stderr: Vec<u8>,
}

impl AnswerData {
    /// Nothing has come yet.
    pub(crate) fn new(kind: DataKind) -> AnswerData {
        AnswerData {
            kind,
            main: Vec::new(),
            stderr: Vec::new(),
        }
    }

    /// Takes the bytes of a frame; false where the operation has no such channel.
    pub(crate) fn take(&mut self, channel: u8, bytes: &[u8]) -> bool {
        let collected = match (self.kind, channel) {
            (DataKind::Content, BODY) | (DataKind::Output, STDOUT) => &mut self.main,
            (DataKind::Output, STDERR) => &mut self.stderr,
            _ => return false,
        };
        collected.extend_from_slice(bytes);
        true
    }
}

impl<T> Op<T> {
    /// An operation without data either way.
    pub(crate) fn new(
        request: Request,
        decode: impl FnOnce(Answer) -> Result<T, String> + Send + 'static,
    ) -> Op<T> {
        Op::fallible(Ok(request), decode)
    }

    /// The same where the request may not fit a frame.
    pub(crate) fn fallible(
        request: Result<Request, GuestError>,
        decode: impl FnOnce(Answer) -> Result<T, String> + Send + 'static,
    ) -> Op<T> {
        Op {
            request,
            body: None,
            data: DataKind::Nothing,
            limit: None,
            most: None,
            decode: Box::new(decode),
            explain: identity,
        }
    }

    /// The same with a body.
    pub(crate) fn with_body(self, body: Option<Vec<u8>>) -> Op<T> {
        Op { body, ..self }
    }

    /// The same with data before the reply.
    pub(crate) fn receiving(self, data: DataKind) -> Op<T> {
        Op { data, ..self }
    }

    /// The same with a time limit of its own.
    pub(crate) fn limited(self, limit: Option<Duration>) -> Op<T> {
        Op { limit, ..self }
    }

    /// The same with at most so many bytes of data in its answer.
    pub(crate) fn at_most(self, most: u64) -> Op<T> {
        Op {
            most: Some(most),
            ..self
        }
    }

    /// The same where the agent's error is passed on by `explain`.
    pub fn explained(self, explain: fn(GuestError) -> GuestError) -> Op<T> {
        Op { explain, ..self }
    }

    /// The operation with `then` applied to what it comes to, so that different ones fit one batch.
    pub fn map<U>(self, then: impl FnOnce(T) -> U + Send + 'static) -> Op<U>
    where
        T: 'static,
    {
        self.and_then(|value| Ok(then(value)))
    }

    /// The same where what it comes to may make no sense; the error says what.
    pub(crate) fn and_then<U>(self, then: impl FnOnce(T) -> Result<U, String> + Send + 'static) -> Op<U>
    where
        T: 'static,
    {
        let decode = self.decode;
        Op {
            request: self.request,
            body: self.body,
            data: self.data,
            limit: self.limit,
            most: self.most,
            decode: Box::new(move |answer| decode(answer).and_then(then)),
            explain: self.explain,
        }
    }
}

impl Op<()> {
    /// An operation that there is nothing to say about.
    pub(crate) fn done(request: Request) -> Op<()> {
        Op::new(request, |answer| is_done(&answer.response))
    }
}

impl Op<Vec<u8>> {
    /// An operation whose answer is the content that comes before it.
    pub(crate) fn content(request: Request) -> Op<Vec<u8>> {
        Op::new(request, |answer| {
            is_done(&answer.response)?;
            Ok(answer.data.main)
        })
        .receiving(DataKind::Content)
    }
}

impl Op<u64> {
    /// An operation that takes a body and answers with the number of bytes that were written.
    pub(crate) fn written(request: Request, body: Option<Vec<u8>>) -> Op<u64> {
        Op::new(request, |answer| match answer.response {
            Response::Written { bytes } => Ok(bytes),
            other => Err(mismatch("a count of bytes", &other)),
        })
        .with_body(body)
    }
}

impl<T> fmt::Debug for Op<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Op")
            .field("request", &self.request)
            .field("body", &self.body.as_ref().map(Vec::len))
            .field("data", &self.data)
            .field("limit", &self.limit)
            .finish_non_exhaustive()
    }
}

/// Refuses a reply that says more than that it is done.
pub(crate) fn is_done(response: &Response) -> Result<(), String> {
    match response {
        Response::Done => Ok(()),
        other => Err(mismatch("no more than that it is done", other)),
    }
}
