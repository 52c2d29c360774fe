//! The list of all requests: one variant for each thing the host can ask of the agent.
//!
//! Input: the host's wishes.
//! Output: messages, and whether a body follows them.
//! Not here: batches. A host that wants many results at once sends many requests of one session and then
//! reads their replies, so that there is no second list of what can be asked.

use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

use crate::{Attach, Exec, Follow, OpenFile, Resumed, Syscall, TerminalSize, WaitProcess, Whence};

/// A request of the host.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Request {
    /// Does nothing; measures a round trip. Replies `Done`.
    Ping,
    /// Runs a program to its end. Replies `Exited`; output comes before on [`STDOUT`](crate::STDOUT) and
    /// [`STDERR`](crate::STDERR).
    Exec(Exec),
    /// Reads a file. Its content comes on [`BODY`](crate::BODY), then `Done`.
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
    /// Reads a file's metadata. Replies `Stat`.
    Stat {
        /// Path in the guest.
        path: ByteBuf,
        /// Follow a symbolic link in the last component, as `stat` does and `lstat` does not.
        follow: bool,
    },
    /// Makes a raw system call, always on the session's one thread. Replies `Syscall`.
    Syscall(Syscall),
    /// Starts a program and leaves it running; its `timeout_ms` is absent. The request's body, if it has one,
    /// goes to its standard input, which stays open. The agent buffers its output. Replies `Started`.
    Start(Exec),
    /// Waits for a started program. Its output comes before on [`STDOUT`](crate::STDOUT) and
    /// [`STDERR`](crate::STDERR). Replies `Process`; when the program has ended, its handle is invalid after
    /// the reply.
    WaitProcess(WaitProcess),
    /// Reads the state of a started program. Replies `Process`.
    ProcessState {
        /// Handle of the program.
        handle: u64,
    },
    /// Sends a signal to a started program, SIGKILL to its whole process group. Replies `Done`; a program
    /// that has ended is no error.
    SignalProcess {
        /// Handle of the program.
        handle: u64,
        /// Number of the signal.
        signal: i32,
    },
    /// Sends a signal to a started program's process group. Replies `Done`.
    SignalGroup {
        /// Handle of the program.
        handle: u64,
        /// Number of the signal.
        signal: i32,
    },
    /// Starts a program and gives the connection to it. Replies `Started`; then its output comes as it is
    /// written, on [`STDOUT`](crate::STDOUT) and [`STDERR`](crate::STDERR), while the host sends its input on
    /// [`BODY`](crate::BODY) and an `End` behind that. A second reply, `Process`, says how it ended, and is
    /// the last on the connection. The handle serves for signals and sizes on other connections.
    Attach(Attach),
    /// Gives the terminal of a started program another size. Replies `Done`.
    ResizeTerminal {
        /// Handle of the program.
        handle: u64,
        /// Its size from now on.
        size: TerminalSize,
    },
    /// Writes the request's body to a started program's standard input. Replies `Written` when the agent has
    /// queued it.
    WriteStdin {
        /// Handle of the program.
        handle: u64,
    },
    /// Closes a started program's standard input after what was written to it. Replies `Done`.
    CloseStdin {
        /// Handle of the program.
        handle: u64,
    },
    /// Begins to end a started program as [`Request::EndProcess`] does, without waiting, so that many
    /// programs end in the time of one. Replies `Done`.
    BeginEndProcess {
        /// Handle of the program; an unknown one has ended already.
        handle: u64,
    },
    /// Ends a started program: SIGTERM to its process group, SIGKILL 2 s after the first SIGTERM it was ever
    /// sent by this request, by [`Request::BeginEndProcess`] or by [`Request::SignalProcesses`]. Replies
    /// `Done` when the program has ended; its handle is invalid from then on.
    EndProcess {
        /// Handle of the program; an unknown one has ended already.
        handle: u64,
    },
    /// Sends a signal to the process group of every program this session has started. Replies `Count`.
    SignalProcesses {
        /// Number of the signal.
        signal: i32,
    },
    /// Waits until every program this session has started has ended; their handles stay. Replies `Joined`.
    JoinProcesses,
    /// Opens a file; at least one of `read`, `write` and `append` is set. Replies `Opened`.
    OpenFile(OpenFile),
    /// Reads from a descriptor's position on. The content comes on [`BODY`](crate::BODY), then `Done`: of a
    /// regular file, as much as is asked for or there is; of anything else what one read gives, or everything
    /// to its end.
    ReadFd {
        /// The descriptor.
        fd: i32,
        /// Most bytes to read; to the end when absent.
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
        /// Distance in bytes.
        offset: i64,
        /// Origin of the distance.
        whence: Whence,
    },
    /// Closes a descriptor. Replies `Done`.
    CloseFd {
        /// The descriptor.
        fd: i32,
    },
    /// Lists a directory. Its entries but `.` and `..`, sorted by name, come on [`BODY`](crate::BODY) as one
    /// MessagePack list of [`DirEntry`](crate::DirEntry)s, then `Done`.
    ListDir {
        /// Path in the guest.
        path: ByteBuf,
    },
    /// Creates a directory. Replies `Done`.
    MakeDir {
        /// Path in the guest.
        path: ByteBuf,
        /// Create missing parents, and count a directory that exists as success.
        parents: bool,
        /// Permission bits (0o755 when absent), whatever the agent's umask.
        perm: Option<u32>,
    },
    /// Removes a file. Replies `Done`.
    Unlink {
        /// Path in the guest.
        path: ByteBuf,
    },
    /// Renames a file or directory. Replies `Done`.
    Rename {
        /// Path in the guest.
        from: ByteBuf,
        /// New path.
        to: ByteBuf,
    },
    /// Removes a directory. Replies `Done`.
    RemoveDir {
        /// Path in the guest, of the directory itself: a symbolic link is none.
        path: ByteBuf,
        /// Remove what is in it as well; links in it are removed, not followed.
        recursive: bool,
    },
    /// Sets the permission bits of what a path leads to. Replies `Done`.
    Chmod {
        /// Path in the guest.
        path: ByteBuf,
        /// Permission bits, at most 0o7777.
        perm: u32,
    },
    /// Sets the owners of a file. Replies `Done`.
    Chown {
        /// Path in the guest.
        path: ByteBuf,
        /// User; stays as it is when absent.
        uid: Option<u32>,
        /// Group; stays as it is when absent.
        gid: Option<u32>,
        /// Follow a symbolic link in the last component.
        follow: bool,
    },
    /// Makes a symbolic link. Replies `Done`.
    Symlink {
        /// What the link says, which need not be there.
        target: ByteBuf,
        /// Path of the link in the guest.
        path: ByteBuf,
    },
    /// Reads a symbolic link. What it says comes on [`BODY`](crate::BODY), then `Done`.
    ReadLink {
        /// Path in the guest.
        path: ByteBuf,
    },
    /// Cuts a file off, or lengthens it with zeros. Replies `Done`.
    Truncate {
        /// Path in the guest.
        path: ByteBuf,
        /// Its length from then on, in bytes.
        size: u64,
    },
    /// Looks whether a path leads to anything, through symbolic links. Replies `Exists`.
    Exists {
        /// Path in the guest.
        path: ByteBuf,
    },
    /// Starts a raw system call on a thread of its own, which has the session's credentials. Replies
    /// `Started`.
    StartSyscall(Syscall),
    /// Waits for a started system call. Replies `Syscall`, after which its handle is invalid, or `Running`
    /// when the time is up.
    WaitSyscall {
        /// Handle of the call.
        handle: u64,
        /// Most milliseconds to wait; no limit when absent.
        timeout_ms: Option<u64>,
    },
    /// Sets the connection aside for a worker. Replies `Parked`.
    Park,
    /// Starts a worker that answers on a parked connection. Replies `Worker`.
    SpawnWorker {
        /// Ticket from `Parked`.
        ticket: u64,
        /// Make the worker a thread of this process instead of a new process.
        thread: bool,
    },
    /// Turns the connection into a stream. Replies `Following`, then the stream's bytes come on
    /// [`BODY`](crate::BODY).
    Follow(Follow),
    /// Makes this session go on for the one whose thread the kernel has ended: what that had started and
    /// opened is this one's from now on. Replies `Done`.
    TakeOver {
        /// Thread id of the session that ended, from [`EndedThread`](crate::EndedThread).
        tid: u32,
    },
    /// Shuts the guest down: processes get SIGTERM, file systems are synced, then the power goes off.
    /// Replies `Done` before anything is killed.
    Shutdown {
        /// Restart instead of powering off.
        reboot: bool,
    },
    /// Tells a guest that was just restored from a snapshot what it cannot know. Replies `Done`.
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

    /// Whether its reply comes soon and alone, without data before it.
    pub fn is_answered_at_once(&self) -> bool {
        matches!(
            self,
            Request::Ping
                | Request::Stat { .. }
                | Request::Syscall(_)
                | Request::ProcessState { .. }
                | Request::SignalProcess { .. }
                | Request::SignalGroup { .. }
                | Request::ResizeTerminal { .. }
                | Request::OpenFile(_)
                | Request::SeekFd { .. }
                | Request::CloseFd { .. }
                | Request::MakeDir { .. }
                | Request::Unlink { .. }
                | Request::Rename { .. }
                | Request::Chmod { .. }
                | Request::Symlink { .. }
                | Request::Truncate { .. }
                | Request::Exists { .. }
        )
    }
}
