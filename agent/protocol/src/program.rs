//! Programs in the guest: how to run one, how to wait for it, how it ended.
//!
//! Input: arguments, environment, time limits.
//! Output: exit statuses, process ids, offsets of output.
//! Not here: the output itself, which travels as `Data` frames.

use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

use crate::bounded::list;

/// A program to run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Exec {
    /// Program and arguments; the program is looked up in the child's PATH. A shell line is
    /// `["/bin/sh", "-c", line]`, made by the host.
    #[serde(deserialize_with = "list")]
    pub argv: Vec<ByteBuf>,
    /// `(name, value)` of variables set on top of (or, with `env_clear`, in place of) the agent's
    /// environment.
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

/// A program to run with its standard streams on this connection.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Attach {
    /// The program; its input comes as data while it runs, so `has_stdin` and `timeout_ms` do not count.
    pub exec: Exec,
    /// Its terminal; without one its streams are pipes.
    pub terminal: Option<Terminal>,
}

/// A terminal for a program, and which of its standard streams it is; the others are pipes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Terminal {
    /// Whether it is standard input.
    pub stdin: bool,
    /// Whether it is standard output.
    pub stdout: bool,
    /// Whether it is standard error.
    pub stderr: bool,
    /// Whether it edits lines, echoes and turns `\n` into `\r\n`; without, the host's terminal does.
    pub cooked: bool,
    /// Its size.
    pub size: TerminalSize,
}

/// A terminal's size in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct TerminalSize {
    /// Height.
    pub rows: u16,
    /// Width.
    pub columns: u16,
}

/// How long to wait for a started program, and which of its output is wanted.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct WaitProcess {
    /// Handle of the program.
    pub handle: u64,
    /// Most milliseconds to wait; no limit when absent.
    pub timeout_ms: Option<u64>,
    /// Kill the process group when the time is up; the program counts as `TimedOut` then.
    pub kill: bool,
    /// Byte offsets from which standard output and standard error are wanted; the oldest buffered byte where
    /// that offset has been dropped.
    pub from: [u64; 2],
}

/// State of a started program.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Process {
    /// Process id in the guest.
    pub pid: u32,
    /// How it ended; absent while it runs.
    pub ended: Option<Exited>,
    /// Byte offsets at which the output sent before the reply begins: standard output and standard error.
    pub from: [u64; 2],
}

/// The end of one of a session's programs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Joined {
    /// Handle of the program.
    pub handle: u64,
    /// Process id it had in the guest.
    pub pid: u32,
    /// How it ended.
    pub ended: Exited,
}

/// The end of a program.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Exited {
    /// Exit code, signal or timeout.
    pub status: ExitStatus,
    /// Nanoseconds from fork to the end, by the guest's monotonic clock.
    pub duration_ns: u64,
}

/// What ended a program.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum ExitStatus {
    /// It returned this exit code.
    Exited(i32),
    /// It was ended by this signal.
    Signalled(i32),
    /// Its timeout passed and its process group was killed.
    TimedOut,
}
