//! Who builds a fixture, so that those who wait for it can be told.
//!
//! Input: this process, or a lock file. Output: a [`Holder`], and what of it an event says. Not here: the
//! lock (`builder_lock`).

use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use provium_base::events::FixtureBuilder;
use serde::{Deserialize, Serialize};

/// Characters of a command line that are shown.
const COMMAND_MAX: usize = 120;

/// Who holds a fixture's lock.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Holder {
    /// Process id.
    pub(crate) pid: u32,
    /// The process's command line, at most 120 characters.
    pub(crate) command: String,
    /// What it builds the fixture for, such as a test file.
    pub(crate) by: String,
    /// Start of the build, in milliseconds since 1970.
    pub(crate) since: u64,
    /// Lock and name of the fixture that it waits for itself.
    pub(crate) waits_for: Option<(String, String)>,
}

impl Holder {
    /// This process, which builds for `by` from now on.
    pub(crate) fn of_this_process(by: &str) -> Holder {
        let args: Vec<_> = std::env::args_os()
            .map(|arg| arg.to_string_lossy().into_owned())
            .collect();
        let mut command: String = args.join(" ").chars().take(COMMAND_MAX).collect();
        command.retain(|c| !c.is_control());
        Holder {
            pid: std::process::id(),
            command,
            by: by.to_owned(),
            since: now_millis(),
            waits_for: None,
        }
    }

    /// Reads a lock file; `None` when it does not name a holder.
    pub(crate) fn read(path: &Path) -> Option<Holder> {
        serde_json::from_slice(&std::fs::read(path).ok()?).ok()
    }

    /// What an event says of the holder.
    pub(crate) fn as_builder(&self) -> FixtureBuilder {
        FixtureBuilder {
            pid: self.pid,
            command: self.command.clone(),
            by: self.by.clone(),
            own: self.pid == std::process::id(),
            since: Duration::from_millis(now_millis().saturating_sub(self.since)),
        }
    }

    /// Whether both are one build by one process.
    pub(crate) fn is_same(&self, other: &Holder) -> bool {
        (self.pid, self.since) == (other.pid, other.since)
    }
}

/// The time now, in milliseconds since 1970.
pub(crate) fn now_millis() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
