//! A command for the emulated host.
//!
//! Input: the caller's wishes. Output: an [`EmulatedRun`]. Not here: running it (`supervise`).

use std::env;
use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use provium_base::events::Sink;

use crate::outside::{Signals, Stdin, Streams};

/// A command for the emulated host.
pub struct EmulatedRun<'a> {
    /// Program and arguments. The program is searched for on the PATH, as a shell does.
    pub argv: Vec<OsString>,
    /// Working directory.
    pub cwd: PathBuf,
    /// Folders that may be written; all else is written to memory and lost.
    pub writable: Vec<PathBuf>,
    /// Memory in MiB; `None` for [`default_memory_mib`](crate::default_memory_mib).
    pub memory_mib: Option<u64>,
    /// Virtual CPUs. With more than one, QEMU 7.2 freezes now and then.
    pub cpus: u8,
    /// Standard input of the command.
    pub stdin: Stdin,
    /// What it has in place of this process's standard streams, if anything; then it has no terminal.
    pub streams: Option<Streams>,
    /// The `provium` that is PID 1 inside; `None` for this process's own program.
    pub exe: Option<PathBuf>,
    /// When to give up.
    pub limits: Limits,
    /// The signals to pass on, if they were watched before; else they are from the start on.
    pub signals: Option<Signals>,
    /// Hears of every step and every start.
    pub sink: &'a dyn Sink,
}

/// When the emulated host counts as frozen, and how often it is started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Time without output or heartbeat after which the emulated host counts as frozen.
    pub silence: Duration,
    /// Number of starts before giving up.
    pub starts: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            silence: Duration::from_secs(20),
            starts: 4,
        }
    }
}

impl<'a> EmulatedRun<'a> {
    /// A command in the current folder, with this process's standard input and the defaults for the rest.
    pub fn new(argv: Vec<OsString>, sink: &'a dyn Sink) -> Self {
        Self {
            argv,
            cwd: env::current_dir().unwrap_or_else(|_| "/".into()),
            writable: Vec::new(),
            memory_mib: None,
            cpus: 1,
            stdin: Stdin::Inherit,
            streams: None,
            exe: None,
            limits: Limits::default(),
            signals: None,
            sink,
        }
    }
}
