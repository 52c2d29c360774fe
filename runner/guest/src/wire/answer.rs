//! The answer to one request: frames up to the reply, within limits of time and memory.
//!
//! Input: a connection on which a reply is due. Output: the reply; `Data` that comes before it goes to a
//! sink. Not here: sending requests, and what a reply means.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use provium_protocol::{Frame, OpError, Response, read_frame};

use super::stream::{Connection, DeadlineReader};
use crate::error::{GuestError, beginning, from_frame};

/// The part of the host's memory that the data of one answer may take, and what it may take in any case.
const MEMORY_PART: u64 = 8;
const MEMORY_ANYWAY: u64 = 256 << 20;
/// Most characters of what is said about an answer that makes no sense.
const LONGEST_COMPLAINT: usize = 200;
/// Most characters of an error that the agent reports.
const LONGEST_MESSAGE: usize = 8192;

/// Takes the channel and the bytes of each `Data` frame; returns whether the request has such a channel.
pub(crate) type Sink<'a> = dyn FnMut(u8, &[u8]) -> bool + 'a;

/// The sink of a request without data.
pub(crate) fn no_data(_channel: u8, _bytes: &[u8]) -> bool {
    false
}

/// How long a request may take, all of it together.
pub(crate) struct TimeLimit {
    /// The whole of it, as the caller asked for it.
    pub(crate) whole: Option<Duration>,
    /// When it is over.
    pub(crate) until: Option<Instant>,
}

impl TimeLimit {
    /// From now on.
    pub(crate) fn new(whole: Option<Duration>) -> TimeLimit {
        TimeLimit {
            whole,
            until: whole.and_then(|limit| Instant::now().checked_add(limit)),
        }
    }
}

/// Most bytes of data that one answer may have in memory: what an agent sends without end must not take all
/// that the host has.
pub fn memory_limit() -> u64 {
    let system = rustix::system::sysinfo();
    let total = system.totalram.saturating_mul(system.mem_unit.into());
    (total / MEMORY_PART).max(MEMORY_ANYWAY)
}

/// Words for a reply that is none of the kind that was wanted.
pub(crate) fn mismatch(wanted: &str, got: &Response) -> String {
    let mut text = Beginning(format!("expected {wanted}, got "));
    // Fails when it is full, which is as much as is wanted.
    let _ = write!(text, "{got:?}");
    complaint(&text.0)
}

/// What is said about an answer that makes no sense, cut off where it gets long.
pub(crate) fn complaint(what: &str) -> String {
    beginning(what, LONGEST_COMPLAINT)
}

/// The first characters of what is written to it; more than that is refused.
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

/// Reads frames until the reply; `left` is how many bytes of data may still come before it. Bits of the
/// kernel's taint that are new are added to `taint`.
pub(crate) fn read_answer(
    stream: &mut dyn Connection,
    limit: &TimeLimit,
    left: &mut u64,
    taint: &mut u64,
    sink: &mut Sink<'_>,
) -> Result<Response, GuestError> {
    let most = *left;
    let mut reader = DeadlineReader::new(stream, limit.until).map_err(GuestError::Lost)?;
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
            Frame::Taint(news) => *taint |= news.now & !news.before,
            Frame::Reply(Ok(Response::ThreadEnded(thread))) => {
                let console = None;
                return Err(GuestError::ThreadEnded { thread, console });
            }
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
