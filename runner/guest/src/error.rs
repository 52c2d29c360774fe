//! What can go wrong in a session with the agent, told apart by what the caller can still do.
//!
//! Input: frame and stream errors, refusals, the agent's own errors. Output: [`GuestError`]. Not here: why a
//! guest ended; only the machine knows that.

use std::io;
use std::time::Duration;

use provium_protocol::{EndedThread, FrameError, OpError, ThreadEnd, VERSION};

/// A request that did not come to its answer.
#[derive(Debug, thiserror::Error)]
pub enum GuestError {
    /// The agent tried and failed; the session goes on.
    #[error("{}", .0.message)]
    Op(OpError),
    /// The connection broke; the session is over.
    #[error("the connection to the guest's agent is lost: {0}")]
    Lost(#[source] io::Error),
    /// The agent sent what no agent of this version sends; the session is over.
    #[error("the guest's agent broke the protocol: {0}")]
    Protocol(String),
    /// Nothing came for this long where an answer was due; the session is over.
    #[error("the guest's agent did not answer within {:.1} s", .0.as_secs_f64())]
    Silent(Duration),
    /// More came than one answer may have; the session is over.
    #[error(
        "the guest's agent sent more than {} MiB for one answer, the most that is kept in memory; copy a larger file \
         to the host's disk, or send output to a file in the guest",
        .0 >> 20
    )]
    Endless(u64),
    /// The guest's kernel ended the thread of the agent's that the call needed. The session is over if that
    /// served it; the agent goes on.
    #[error("{}", thread_ended(*.thread, .console.as_deref()))]
    ThreadEnded {
        /// The thread.
        thread: EndedThread,
        /// The console's last line about a bug of the kernel's, where one was looked for and found.
        console: Option<String>,
    },
    /// The agent speaks another version of the protocol, so it was refused.
    #[error(
        "the guest runs an agent of protocol version {theirs} (build {build}), this provium speaks version \
         {}; rebuild the image or let provium inject its own agent (`inject_agent = true`)",
        VERSION
    )]
    Version {
        /// The agent's protocol version.
        theirs: u32,
        /// The agent's package version.
        build: String,
    },
    /// Something other than an agent answered on the agent's port.
    #[error("what answered on the agent's port is not a provium agent: {0}")]
    Stranger(String),
    /// An earlier request ended this session.
    #[error("the session with the guest's agent is over since an earlier call: {0}")]
    Over(String),
    /// The request does not fit the protocol; nothing was sent.
    #[error("{0}")]
    TooLarge(String),
    /// The body of the request could not be read on the host.
    #[error("reading what was to be sent failed: {0}")]
    Source(#[source] io::Error),
    /// What the guest sent could not be written on the host.
    #[error("writing what came failed: {0}")]
    Target(#[source] io::Error),
}

impl GuestError {
    /// Whether the session can carry another request.
    pub fn session_lives(&self) -> bool {
        match self {
            GuestError::Op(_) | GuestError::Source(_) | GuestError::Target(_) | GuestError::TooLarge(_) => {
                true
            }
            GuestError::ThreadEnded { thread, .. } => !thread.served,
            _ => false,
        }
    }

    /// The kernel's error number, where the guest's kernel is the cause.
    pub fn errno(&self) -> Option<i32> {
        match self {
            GuestError::Op(error) => error.errno,
            _ => None,
        }
    }
}

/// Words for a thread that the kernel has ended.
fn thread_ended(thread: EndedThread, console: Option<&str>) -> String {
    let whose = match thread.served {
        true => "that served this call",
        false => "of the agent that this call waited for",
    };
    match (thread.how, console) {
        (ThreadEnd::Exit { status }, _) => {
            format!(
                "the guest's kernel ended the thread {whose}: it called exit({status}), which is number 60"
            )
        }
        (ThreadEnd::Seccomp, _) => {
            format!("the guest's kernel killed the thread {whose}: seccomp did not allow what it called next")
        }
        (ThreadEnd::Killed, Some(line)) => {
            format!("the guest's kernel killed the thread {whose}; the console says: {line}")
        }
        (ThreadEnd::Killed, None) => {
            format!("the guest's kernel killed the thread {whose}; the console does not say why")
        }
    }
}

/// Sorts a frame error: a broken connection, a limit that passed, or a peer that talks nonsense.
pub(crate) fn from_frame(error: FrameError, limit: Option<Duration>) -> GuestError {
    match error {
        FrameError::Io(error) => from_io(error, limit),
        FrameError::Closed | FrameError::Truncated { .. } => {
            GuestError::Lost(io::Error::new(io::ErrorKind::UnexpectedEof, error))
        }
        other => GuestError::Protocol(other.to_string()),
    }
}

/// Sorts the error of a request that was to be sent.
pub(crate) fn from_request(error: FrameError, limit: Option<Duration>) -> GuestError {
    match error {
        FrameError::TooLong { length, limit } => GuestError::TooLarge(format!(
            "the request's arguments and buffers take {length} bytes, the most is {limit}"
        )),
        error => from_frame(error, limit),
    }
}

/// Sorts a stream error: a limit that passed or a broken connection.
pub(crate) fn from_io(error: io::Error, limit: Option<Duration>) -> GuestError {
    match (error.kind(), limit) {
        (io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock, Some(limit)) => GuestError::Silent(limit),
        _ => GuestError::Lost(error),
    }
}

/// What somebody not to be trusted said, cut off where it gets longer than any honest text.
pub(crate) fn beginning(text: &str, most: usize) -> String {
    match text.char_indices().nth(most) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}
