//! Events about the emulated host: chosen, prepared, started, started again.
//!
//! Input: facts from the choice of where tests run, and from the emulated host's supervisor. Output: a
//! [`HostEvent`]. Not here: the output of the command that runs in it.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Something that happened on the way to a command in the emulated host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HostEvent {
    /// Tests will run in the emulated host.
    Chosen {
        /// Everything that is wrong with KVM here, joined by `; `; `None` when the emulated host was asked
        /// for.
        because: Option<String>,
    },
    /// A step before the start that may take long.
    Preparing {
        /// What is done, such as "downloading linux-image-6.1.0-56-amd64".
        step: String,
    },
    /// QEMU has been started.
    Starting {
        /// Which start this is, from 1.
        start: u32,
        /// QEMU's process id.
        pid: u32,
    },
    /// The command runs.
    Running {
        /// Time since QEMU was started.
        after: Duration,
    },
    /// It has failed and is started again.
    Again {
        /// Why, as a sentence.
        cause: String,
        /// Which start comes now.
        start: u32,
        /// Most starts there will be.
        of: u32,
    },
    /// The command has ended.
    Ended,
}

impl fmt::Display for HostEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            HostEvent::Chosen { because: None } => f.write_str("tests run in the emulated host"),
            HostEvent::Chosen {
                because: Some(because),
            } => {
                // The rest of what is wrong is for `doctor`, and so is what was measured.
                let first = because.split("; ").next().unwrap_or_default();
                let cause = match first.starts_with("ring-0 code") {
                    true => "this machine's /dev/kvm cannot run a kernel",
                    false => first,
                };
                write!(
                    f,
                    "{cause}; using the emulated host, which is slower (`provium doctor` says why)"
                )
            }
            HostEvent::Preparing { step } => write!(f, "the emulated host: {step}"),
            HostEvent::Starting { start: 1, .. } => f.write_str("starting the emulated host"),
            HostEvent::Starting { start, .. } => {
                write!(f, "starting the emulated host again (start {start})")
            }
            HostEvent::Running { .. } => f.write_str("the command runs in the emulated host"),
            HostEvent::Again { cause, start, of } => {
                write!(f, "{cause}; starting it again ({start} of {of})")
            }
            HostEvent::Ended => f.write_str("the command in the emulated host has ended"),
        }
    }
}
