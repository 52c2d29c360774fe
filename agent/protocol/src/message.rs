//! The messages: what a session says, in the order it says it.
//!
//! A session is one vsock connection. The agent opens it with [`Hello`]; the host answers [`Welcome`] or
//! [`Refused`]. From then on the host sends one [`Request`] at a time and reads until its [`Reply`].
//! A request whose [`Request::has_body`] is true is followed by its body: `Data` frames on channel
//! [`BODY`] closed by `End`. A reply may be preceded by `Data` frames on the channel the op documents;
//! they need no `End`, the reply closes them.

use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

use crate::bounded::list;

/// Version of everything in this crate; both sides must agree exactly. Any change of a message's encoding
/// raises it and adds a line to `FINGERPRINTS`. [`Hello`], [`Welcome`], [`Refused`] and the frame header never
/// change: they are what two versions need to tell each other that they differ.
pub const VERSION: u32 = 2;
/// For each version, the hash of one encoded example of every message: what makes a test fail when the messages
/// change and the version does not. See `tests/fingerprint.rs`.
#[doc(hidden)]
pub const FINGERPRINTS: &[(u32, u64)] = &[(1, 0x4655_9804_6718_47c4), (2, 0x726b_294d_3685_d446)];
/// The host's vsock port on which the agent announces itself after boot.
pub const HOST_PORT: u32 = 5252;
/// The guest's vsock port on which the agent accepts further sessions from the host.
pub const AGENT_PORT: u32 = 5252;
/// The first words of every session, so that a stranger on the port is told apart from an old agent.
pub const MAGIC: &str = "provium-agent";

/// Channel of a request's body, and of the content a `ReadFile` returns.
pub const BODY: u8 = 0;
/// Channel of a child's standard output.
pub const STDOUT: u8 = 1;
/// Channel of a child's standard error.
pub const STDERR: u8 = 2;
/// Most bytes a sender puts in one `Data` frame.
pub const DATA_CHUNK: usize = 256 * 1024;

/// One frame of a session.
#[derive(Debug, Clone, PartialEq)]
pub enum Frame {
    /// Agent → host, first frame of a session.
    Hello(Hello),
    /// Host → agent, the session may go on.
    Welcome(Welcome),
    /// Host → agent, the session is over; the reason is for the agent's log.
    Refused(Refused),
    /// Host → agent.
    Request(Request),
    /// Agent → host, ends the request.
    Reply(Reply),
    /// Raw bytes of a body or an output, either way. At most [`DATA_CHUNK`] bytes by a good sender.
    Data {
        /// What the bytes belong to: [`BODY`], [`STDOUT`] or [`STDERR`].
        channel: u8,
        /// The bytes, never re-encoded.
        bytes: Vec<u8>,
    },
    /// No more `Data` on this channel for the current request.
    End {
        /// The channel that is complete.
        channel: u8,
    },
}

impl Frame {
    /// What it is, for messages: "a hello".
    pub fn name(&self) -> &'static str {
        match self {
            Frame::Hello(_) => "a hello",
            Frame::Welcome(_) => "a welcome",
            Frame::Refused(_) => "a refusal",
            Frame::Request(_) => "a request",
            Frame::Reply(_) => "a reply",
            Frame::Data { .. } => "data",
            Frame::End { .. } => "an end of data",
        }
    }
}

/// What the agent says first.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Hello {
    /// Always [`MAGIC`].
    pub magic: String,
    /// The agent's [`VERSION`].
    pub version: u32,
    /// The agent's package version, for the message of a refusal.
    pub build: String,
    /// Process id the session's requests run in.
    pub pid: u32,
}

/// The host's consent.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Welcome {
    /// The host's [`VERSION`].
    pub version: u32,
}

/// The host's refusal.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Refused {
    /// A sentence for the agent's log on the guest's console.
    pub reason: String,
}

/// One thing the host asks of the agent.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Request {
    /// Nothing; measures the way there and back. Replies `Done`.
    Ping,
    /// Runs a program to its end. Replies `Exited`; output comes before on [`STDOUT`] and [`STDERR`].
    Exec(Exec),
    /// Content of a file comes on [`BODY`], then `Done`.
    ReadFile {
        /// Path in the guest.
        path: ByteBuf,
    },
    /// Creates or truncates a file and writes the request's body to it. Replies `Written`.
    WriteFile {
        /// Path in the guest.
        path: ByteBuf,
        /// Permission bits of a newly created file (0o644 when absent); an existing file keeps its own.
        perm: Option<u32>,
    },
    /// Replies `Stat`. Follows symbolic links, except that a dangling or `lstat` look is asked by `follow`.
    Stat {
        /// Path in the guest.
        path: ByteBuf,
        /// Whether the last component's symbolic link is followed.
        follow: bool,
    },
    /// A raw system call, always made on one and the same thread of the session. Replies `Syscall`.
    Syscall(Syscall),
    /// Asks the guest to end in order: processes get SIGTERM, file systems are synced, then power off.
    /// Replies `Done` before anything is killed.
    Shutdown {
        /// Restart in place of power-off.
        reboot: bool,
    },
    /// Tells a guest that has just come out of a snapshot what it cannot know. Replies `Done`.
    Resumed(Resumed),
}

impl Request {
    /// Whether a body follows the request frame.
    pub fn has_body(&self) -> bool {
        match self {
            Request::Exec(exec) => exec.has_stdin,
            Request::WriteFile { .. } => true,
            _ => false,
        }
    }
}

/// What a guest out of a snapshot cannot know by itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Resumed {
    /// Random bytes that nobody else has, for the kernel's generator to start anew from: two guests out of one
    /// snapshot would draw the same numbers. Absent where that is wanted.
    pub entropy: Option<ByteBuf>,
    /// What time it is: nanoseconds since 1970. The guest keeps its own time when absent.
    pub wall_clock_ns: Option<u64>,
}

/// A program to run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Exec {
    /// Program and arguments; the program is looked up in the child's PATH. A shell line is
    /// `["/bin/sh", "-c", line]`, made by the host.
    #[serde(deserialize_with = "list")]
    pub argv: Vec<ByteBuf>,
    /// Variables set on top of (or, with `env_clear`, in place of) the agent's environment.
    #[serde(deserialize_with = "list")]
    pub env: Vec<(ByteBuf, ByteBuf)>,
    /// Start from an empty environment.
    pub env_clear: bool,
    /// Working directory, the agent's own (`/`) when absent.
    pub cwd: Option<ByteBuf>,
    /// The request's body is the child's standard input; otherwise it is empty (`/dev/null`).
    pub has_stdin: bool,
    /// Milliseconds after which the whole process group is killed.
    pub timeout_ms: Option<u64>,
}

/// A raw system call and the memory it points at.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Syscall {
    /// Number on x86-64.
    pub nr: i64,
    /// The six argument registers.
    pub args: [u64; 6],
    /// Buffers placed in the agent's memory for the time of the call.
    #[serde(deserialize_with = "list")]
    pub bufs: Vec<ByteBuf>,
    /// `(argument, buffer)`: which argument (0–5) receives the address of which buffer (0-based).
    #[serde(deserialize_with = "list")]
    pub ptrs: Vec<(u8, u32)>,
    /// Buffers whose address is written inside another buffer before the call.
    #[serde(deserialize_with = "list")]
    pub nested: Vec<Nested>,
}

/// One pointer stored inside a buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Nested {
    /// Buffer (0-based) that holds the pointer.
    pub parent: u32,
    /// Byte offset of the pointer in it; eight bytes must fit.
    pub offset: u32,
    /// Buffer (0-based) pointed at.
    pub child: u32,
}

/// The end of a request.
pub type Reply = Result<Response, OpError>;

/// What a request came to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Response {
    /// It is done; there is nothing to say.
    Done,
    /// How a program ended.
    Exited(Exited),
    /// Bytes written.
    Written {
        /// Length of the file's new content.
        bytes: u64,
    },
    /// A file's metadata.
    Stat(Stat),
    /// A system call's result.
    Syscall {
        /// The raw return value: `-errno` on failure.
        ret: i64,
        /// The buffers as the call left them, in full length.
        #[serde(deserialize_with = "list")]
        bufs: Vec<ByteBuf>,
    },
}

/// How a program ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Exited {
    /// Which way.
    pub status: ExitStatus,
    /// Nanoseconds from fork to the end, by the guest's monotonic clock.
    pub duration_ns: u64,
}

/// Which way a program ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum ExitStatus {
    /// It returned this code.
    Exited(i32),
    /// This signal ended it.
    Signalled(i32),
    /// Its timeout passed and its process group was killed.
    TimedOut,
}

/// A file's metadata.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Stat {
    /// Bytes.
    pub size: u64,
    /// Seconds since 1970.
    pub mtime: i64,
    /// Nanoseconds within the second.
    pub mtime_ns: u32,
    /// Permission bits, `0o7777`.
    pub perm: u32,
    /// What kind of file.
    pub entry_type: EntryType,
}

/// What a directory entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum EntryType {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link.
    Symlink,
    /// A named pipe.
    Fifo,
    /// A Unix socket.
    Socket,
    /// A block device.
    BlockDevice,
    /// A character device.
    CharDevice,
    /// Anything else.
    Other,
}

/// A request that failed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct OpError {
    /// The kernel's error number, where one is the cause.
    pub errno: Option<i32>,
    /// What was tried and why it failed, with the value at fault.
    pub message: String,
}
