//! The list of all responses, and the error that takes their place.
//!
//! Input: the result of a request.
//! Output: the reply that ends it.
//! Not here: content and output, which come as `Data` frames before the reply.

use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

use crate::bounded::list;
use crate::{EndedThread, Exited, Joined, Process, Stat};

/// The end of a request.
pub type Reply = Result<Response, OpError>;

/// Result of a request that succeeded.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Response {
    /// Success without a value.
    Done,
    /// A program ran to its end.
    Exited(Exited),
    /// Bytes were written.
    Written {
        /// Number of bytes of the request's body.
        bytes: u64,
    },
    /// A file's metadata.
    Stat(Stat),
    /// Result of a system call.
    Syscall {
        /// The raw return value: `-errno` on failure.
        ret: i64,
        /// The buffers as the call left them, in full length.
        #[serde(deserialize_with = "list")]
        bufs: Vec<ByteBuf>,
    },
    /// A program or system call was started.
    Started {
        /// Handle for later requests.
        handle: u64,
        /// Process or thread id in the guest.
        pid: u32,
    },
    /// State of a started program.
    Process(Process),
    /// A number of programs.
    Count {
        /// How many programs a signal reached.
        count: u64,
    },
    /// The ends of all programs of a session.
    Joined {
        /// One element for each program, in the order they were started.
        #[serde(deserialize_with = "list")]
        ended: Vec<Joined>,
    },
    /// A file is open.
    Opened {
        /// Its descriptor.
        fd: i32,
    },
    /// A position in a file.
    Offset {
        /// Bytes from the file's beginning.
        offset: u64,
    },
    /// Whether a path leads to anything.
    Exists {
        /// False where a part of the path is not there, or is no directory.
        exists: bool,
    },
    /// A system call has not returned yet.
    Running,
    /// The connection waits for a worker.
    Parked {
        /// Ticket for [`crate::Request::SpawnWorker`].
        ticket: u64,
    },
    /// A worker answers on the parked connection.
    Worker {
        /// Process id of the worker.
        pid: u32,
        /// Thread id of the worker.
        tid: u32,
        /// vsock port on which its process accepts sessions.
        port: u32,
    },
    /// A stream begins.
    Following {
        /// Byte offset of the stream's first byte in the file or output; 0 where there is no such offset.
        offset: u64,
    },
    /// The kernel has ended the thread that this request needed, in place of any other reply. It can come in
    /// the middle of a stream as well.
    ThreadEnded(EndedThread),
}

/// A request that failed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct OpError {
    /// The kernel's error number, where one is the cause.
    pub errno: Option<i32>,
    /// What was tried and why it failed, with the value at fault.
    pub message: String,
}
