//! The messages: what a session says, in the order it says it.
//!
//! A session is one vsock connection. The agent opens it with [`Hello`]; the host answers [`Welcome`] or
//! [`Refused`]. From then on the host sends one [`Request`] at a time and reads until its [`Reply`].
//! A request whose [`Request::has_body`] is true is followed by its body: `Data` frames on channel
//! [`BODY`] closed by `End`. A reply may be preceded by `Data` frames on the channel the op documents;
//! they need no `End`, the reply closes them.
//!
//! Two requests change what the connection is for. After [`Request::Follow`] and its reply the agent sends `Data` on
//! [`BODY`] until there can be no more, then `End`; the host sends nothing but its hang-up. After [`Request::Park`] the
//! connection is silent until a worker that [`Request::SpawnWorker`] makes answers on it, without another hello.
//!
//! Handles are the agent process's own numbers, valid on all its sessions. What a session started or opened ends with it.

use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

use crate::bounded::list;

/// Version of everything in this crate; both sides must agree exactly. Any change of a message's encoding
/// raises it and adds a line to `FINGERPRINTS`. [`Hello`], [`Welcome`], [`Refused`] and the frame header never
/// change: they are what two versions need to tell each other that they differ.
pub const VERSION: u32 = 3;
/// For each version, the hash of one encoded example of every message: what makes a test fail when the messages
/// change and the version does not. See `tests/fingerprint.rs`.
#[doc(hidden)]
pub const FINGERPRINTS: &[(u32, u64)] = &[
    (1, 0x4655_9804_6718_47c4),
    (2, 0x726b_294d_3685_d446),
    (3, 0x8813_380c_3af5_982f),
];
/// The host's vsock port on which the agent announces itself after boot.
pub const HOST_PORT: u32 = 5252;
/// The guest's vsock port on which the agent accepts further sessions from the host.
pub const AGENT_PORT: u32 = 5252;
/// The first words of every session, so that a stranger on the port is told apart from an old agent.
pub const MAGIC: &str = "provium-agent";

/// Channel of a request's body, and of the content that a request asks for.
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
    /// Starts a program and leaves it running; its `timeout_ms` is absent. The request's body, if it has one, goes to
    /// its standard input, which stays open. Its output is kept by the agent. Replies `Started`.
    Start(Exec),
    /// Waits for a started program. Its output comes before on [`STDOUT`] and [`STDERR`]. Replies `Process`; when the
    /// program has ended, its handle is gone with the reply.
    WaitProcess(WaitProcess),
    /// How a started program is doing. Replies `Process`.
    ProcessState {
        /// The program.
        handle: u64,
    },
    /// Sends a signal to a started program, SIGKILL to its whole process group. Replies `Done`; a program that has
    /// ended is no error.
    SignalProcess {
        /// The program.
        handle: u64,
        /// The signal.
        signal: i32,
    },
    /// The request's body goes to a started program's standard input. Replies `Written` when it is on its way.
    WriteStdin {
        /// The program.
        handle: u64,
    },
    /// Closes a started program's standard input behind what was written to it. Replies `Done`.
    CloseStdin {
        /// The program.
        handle: u64,
    },
    /// Begins to end a started program as [`Request::EndProcess`] does, and does not wait: so many end in the time that
    /// one takes. Replies `Done`.
    BeginEndProcess {
        /// The program; one that is unknown has ended already.
        handle: u64,
    },
    /// Ends a started program: SIGTERM to its process group, SIGKILL 2 s after the first SIGTERM it was ever sent by
    /// this request, by [`Request::BeginEndProcess`] or by [`Request::SignalProcesses`]. Replies `Done` when it is gone, and its handle with it.
    EndProcess {
        /// The program; one that is unknown has ended already.
        handle: u64,
    },
    /// Sends a signal to the process group of every program this session has started. Replies `Count`.
    SignalProcesses {
        /// The signal.
        signal: i32,
    },
    /// Waits until every program this session has started has ended; their handles stay. Replies `Joined`.
    JoinProcesses,
    /// Opens a file; at least one of `read`, `write` and `append` is set. Replies `Opened`.
    OpenFile(OpenFile),
    /// Content from a descriptor's position on comes on [`BODY`], then `Done`. Of a regular file, as much as is asked
    /// for or there is; of anything else what one read gives, or everything to its end.
    ReadFd {
        /// The descriptor.
        fd: i32,
        /// Most bytes; to the end when absent.
        max: Option<u64>,
    },
    /// Writes the request's body to a descriptor. Replies `Written`.
    WriteFd {
        /// The descriptor.
        fd: i32,
    },
    /// Moves a descriptor's position. Replies `Offset`.
    SeekFd {
        /// The descriptor.
        fd: i32,
        /// How far.
        offset: i64,
        /// From where.
        whence: Whence,
    },
    /// Closes a descriptor. Replies `Done`.
    CloseFd {
        /// The descriptor.
        fd: i32,
    },
    /// The entries of a folder but `.` and `..`, by name, come on [`BODY`] as one MessagePack list of [`DirEntry`]s,
    /// then `Done`.
    ListDir {
        /// Path in the guest.
        path: ByteBuf,
    },
    /// Makes a folder. Replies `Done`.
    MakeDir {
        /// Path in the guest.
        path: ByteBuf,
        /// Make missing parents, and take a folder that is there for success.
        parents: bool,
        /// Permission bits (0o755 when absent), whatever the agent's umask.
        perm: Option<u32>,
    },
    /// Removes a file. Replies `Done`.
    Unlink {
        /// Path in the guest.
        path: ByteBuf,
    },
    /// Renames a file or folder. Replies `Done`.
    Rename {
        /// Path in the guest.
        from: ByteBuf,
        /// Its new path.
        to: ByteBuf,
    },
    /// A raw system call on a thread of its own, which starts with the session's credentials. Replies `Started`.
    StartSyscall(Syscall),
    /// Waits for a started system call. Replies `Syscall`, and its handle is gone, or `Running` when time is up.
    WaitSyscall {
        /// The call.
        handle: u64,
        /// Most milliseconds; for ever when absent.
        timeout_ms: Option<u64>,
    },
    /// Keeps the connection for a worker. Replies `Parked`.
    Park,
    /// Makes a worker that answers on a parked connection. Replies `Worker`.
    SpawnWorker {
        /// What `Parked` said.
        ticket: u64,
        /// A thread of this process in place of a process of its own.
        thread: bool,
    },
    /// Turns the connection into a stream. Replies `Following`, then the stream's bytes come on [`BODY`].
    Follow(Follow),
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
            Request::Exec(exec) | Request::Start(exec) => exec.has_stdin,
            Request::WriteFile { .. } | Request::WriteStdin { .. } | Request::WriteFd { .. } => true,
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

/// How long to wait for a started program, and what of its output is wanted.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct WaitProcess {
    /// The program.
    pub handle: u64,
    /// Most milliseconds; for ever when absent.
    pub timeout_ms: Option<u64>,
    /// When time is up, kill its process group; it counts as `TimedOut` then.
    pub kill: bool,
    /// From which byte on standard output and standard error are wanted; the oldest byte that is kept, where that is
    /// not there.
    pub from: [u64; 2],
}

/// A file to open.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct OpenFile {
    /// Path in the guest.
    pub path: ByteBuf,
    /// For reading.
    pub read: bool,
    /// For writing.
    pub write: bool,
    /// Make it if it is not there.
    pub create: bool,
    /// Empty it.
    pub truncate: bool,
    /// For writing, always at its end.
    pub append: bool,
    /// With `create`: it must not be there.
    pub exclusive: bool,
    /// Permission bits of a new file (0o644 when absent), whatever the agent's umask.
    pub perm: Option<u32>,
}

/// Where an offset counts from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Whence {
    /// The file's first byte.
    Set,
    /// The position.
    Current,
    /// The file's end.
    End,
}

/// What a stream is of.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Follow {
    /// A file that grows, by its path: through truncation, renaming and replacement.
    File {
        /// Path in the guest.
        path: ByteBuf,
        /// Where to begin.
        start: FollowStart,
    },
    /// What can be read from a descriptor; a regular file from the descriptor's position on, which stays where it is.
    Fd {
        /// The descriptor.
        fd: i32,
    },
    /// The output of a started program.
    Output {
        /// The program.
        handle: u64,
        /// Standard error in place of standard output.
        stderr: bool,
        /// From which byte on; the oldest byte that is kept, where that is not there.
        from: u64,
    },
}

/// Where in a file a stream begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum FollowStart {
    /// Behind what is there.
    End,
    /// At this offset; a negative one counts from the end.
    Offset(i64),
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
    /// It runs.
    Started {
        /// By which it is found from now on.
        handle: u64,
        /// Process or thread id in the guest.
        pid: u32,
    },
    /// How a started program is doing.
    Process(Process),
    /// So many were reached.
    Count {
        /// How many.
        count: u64,
    },
    /// How each program of a session ended.
    Joined {
        /// In the order they were started.
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
        /// From its first byte.
        offset: u64,
    },
    /// A system call has not come back yet.
    Running,
    /// The connection is kept.
    Parked {
        /// By which a worker gets it.
        ticket: u64,
    },
    /// A worker answers on the parked connection.
    Worker {
        /// Its process.
        pid: u32,
        /// Its thread.
        tid: u32,
        /// The vsock port on which its process accepts sessions.
        port: u32,
    },
    /// The stream begins.
    Following {
        /// Where its first byte lies in the file or output; 0 where there is no such thing.
        offset: u64,
    },
}

/// How a started program is doing.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Process {
    /// Its process id.
    pub pid: u32,
    /// How it ended; absent while it runs.
    pub ended: Option<Exited>,
    /// Where the output that came before the reply begins, standard output and standard error.
    pub from: [u64; 2],
}

/// How one program of a session ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Joined {
    /// The program.
    pub handle: u64,
    /// Its process id.
    pub pid: u32,
    /// How it ended.
    pub ended: Exited,
}

/// One entry of a folder.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DirEntry {
    /// Its name, any bytes.
    pub name: ByteBuf,
    /// What it is; a link is a link.
    pub entry_type: EntryType,
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
