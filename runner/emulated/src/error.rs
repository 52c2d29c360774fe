//! Errors of a run in the emulated host.
//!
//! Input: what was tried, and how it failed. Output: [`EmulatedError`]. Not here: a command that fails; its
//! exit code is no error.

use std::io;
use std::path::PathBuf;

use provium_base::cause::Cause;

use crate::prepare::PrepareError;

/// Least memory of an emulated host, in MiB; with less, nested guests have no room.
pub(crate) const LEAST_MEMORY: u64 = 512;

/// Why a run in the emulated host gave no exit code.
#[derive(Debug, thiserror::Error)]
pub enum EmulatedError {
    /// This process is in an emulated host; they do not nest.
    #[error("this is the emulated host already: run the command directly")]
    Inside,
    /// Something that it starts from is missing, or cannot be made.
    #[error(transparent)]
    Prepare(#[from] PrepareError),
    /// The command is empty.
    #[error("no command given")]
    NoCommand,
    /// A folder to write cannot be shared.
    #[error("cannot make {} writable in the emulated host: {reason}", path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// Why not, in words.
        reason: String,
    },
    /// The cache's folder cannot be written.
    #[error("cannot write below {}: {}", path.display(), Cause(source))]
    Cache {
        /// The folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Too little memory, in MiB.
    #[error(
        "the emulated host needs at least {LEAST_MEMORY} MiB of memory, {0} MiB is given or to be had here"
    )]
    Memory(u64),
    /// QEMU cannot be executed.
    #[error("cannot start {}: {source}", program.display())]
    Start {
        /// QEMU's path.
        program: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// QEMU ended before the command ran.
    #[error("the emulated host did not start{tail}")]
    NotStarted {
        /// The last output of QEMU and its kernel, indented; may be empty.
        tail: String,
    },
    /// Provium inside cannot run the command: why, in words.
    #[error("the emulated host cannot run the command: {0}")]
    Refused(String),
    /// It failed after each start.
    #[error("the emulated host was started {starts} times and failed each time; the last time {cause}{tail}")]
    GaveUp {
        /// Number of starts.
        starts: u32,
        /// Why the last start failed, as a sentence.
        cause: String,
        /// The last output of QEMU and its kernel, indented; may be empty.
        tail: String,
    },
    /// A new start cannot be given the same standard input.
    #[error("{cause}; the command cannot be started again, for it had read more than 1 MiB of its input")]
    InputLost {
        /// Why a new start was needed, as a sentence.
        cause: String,
    },
    /// An error of this process's own streams, terminal or signals.
    #[error("watching the emulated host: {0}")]
    Io(#[from] io::Error),
}
