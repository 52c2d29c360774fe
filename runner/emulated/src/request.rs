//! A command for the emulated host, and what its caller can observe.
//!
//! Input: the caller's wishes. Output: an [`EmulatedRun`]; [`Event`]s while it runs. Not here: running it
//! (`supervise`).

use std::env;
use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use crate::outside::Stdin;

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
    /// The `provium` that is PID 1 inside; `None` for this process's own program.
    pub exe: Option<PathBuf>,
    /// When to give up.
    pub limits: Limits,
    /// Called with each event.
    pub observer: Box<dyn FnMut(Event<'_>) + 'a>,
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

/// A step of a run in the emulated host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event<'a> {
    /// Before the start, something that may take long begins: what, as part of a sentence.
    Preparing(&'a str),
    /// QEMU has been started.
    Starting {
        /// Number of this start, from 1.
        start: u32,
        /// QEMU's process id.
        pid: u32,
    },
    /// The command has been started inside.
    Running {
        /// Time since QEMU was started.
        after: Duration,
    },
    /// The emulated host failed and is started again.
    Again {
        /// Why, as a sentence.
        cause: &'a str,
        /// Number of the start that comes now.
        start: u32,
        /// Most starts there will be.
        of: u32,
    },
    /// The command has ended, or the user does not want to wait.
    Ended,
}

impl<'a> EmulatedRun<'a> {
    /// A command in the current folder, with this process's standard input and the defaults for the rest.
    pub fn new(argv: Vec<OsString>) -> Self {
        Self {
            argv,
            cwd: env::current_dir().unwrap_or_else(|_| "/".into()),
            writable: Vec::new(),
            memory_mib: None,
            cpus: 1,
            stdin: Stdin::Inherit,
            exe: None,
            limits: Limits::default(),
            observer: Box::new(|_| {}),
        }
    }
}
