//! What happens while Provium works, as owned data that can be written down, sent and read again.
//!
//! Input: facts, from whoever runs files, obtains fixtures, builds profiles or starts the emulated host.
//! Output: an [`Event`] each, given to a [`Sink`]; reports read nothing else. Not here: how a run is shown,
//! which `report` decides; an event about fixtures, profiles or the emulated host has one line of text for
//! people, its `Display`.
//!
//! Order: [`Event::RunStarted`] comes before all events of a run's files and [`Event::RunEnded`] after them.
//! Events of one file keep their order; those of files that run at the same time, and of fixtures, come in
//! between.

mod cache;
mod fixture;
mod host;
mod pool;
mod profile;
mod sink;
mod stage;
#[cfg(test)]
mod tests;
mod vm;

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::cancel::CancelReason;
use crate::meta::Meta;
use crate::outcome::{FileEnd, Summary, TestResult};

pub use cache::CacheEvent;
pub use fixture::{FixtureBuilder, FixtureEvent};
pub use host::HostEvent;
pub use pool::Amount;
pub use profile::ProfileEvent;
pub use sink::{Discard, Recorder, Sink, Sinks};
pub use stage::Stage;
pub use vm::{ClaimEvent, FoundFile, VmChange, VmEvent, VmStart};

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Event {
    /// A run begins.
    RunStarted {
        /// Number of files to run.
        files: usize,
    },
    /// The files of the run, for whoever follows it.
    FilesFound {
        /// Each of them.
        files: Vec<FoundFile>,
    },
    /// A file begins.
    FileStarted {
        /// The file as reports name it.
        path: String,
    },
    /// The file's own code has registered its tests.
    TestsFound {
        /// The file.
        path: String,
        /// Number of tests that are wanted.
        tests: usize,
    },
    /// A file, in a test or outside of one, has come to something that takes time, or is through with it.
    FileStage {
        /// The file.
        path: String,
        /// What it does now.
        stage: Stage,
    },
    /// A file takes in another: a module, a fixture's source, what a fixture was built from.
    FileUses {
        /// The file.
        path: String,
        /// What it uses, absolute; something that is not there yet may be among it.
        uses: PathBuf,
    },
    /// A file waits for memory or processors of the host, until its next event.
    FileBlocked {
        /// The file.
        path: String,
        /// What it asks for, beyond what it has.
        waiting_for: Amount,
        /// The same in words, with who has what.
        why: String,
    },
    /// A test begins.
    TestStarted {
        /// Its file.
        path: String,
        /// Its name.
        test: String,
        /// Its metadata.
        #[serde(default)]
        meta: Meta,
    },
    /// A test has ended.
    TestEnded {
        /// Its file.
        path: String,
        /// How it ended.
        result: TestResult,
    },
    /// A file has ended.
    FileEnded(FileEnd),
    /// The user, or whoever started the run, has told it to stop; running files are being ended.
    RunStopping {
        /// Why.
        reason: CancelReason,
    },
    /// A run has ended.
    RunEnded(Summary),
    /// What of the pool's memory and processors is taken, once a second, for whoever follows the run.
    PoolState {
        /// What is taken.
        used: Amount,
        /// What is left.
        available: Amount,
    },
    /// A VM of a file began or ended, for whoever follows the run.
    Vm(VmEvent),
    /// A file has claimed something, or given it back.
    Claim(ClaimEvent),
    /// Something that the user should know, and that is no failure.
    Warning {
        /// What.
        message: String,
    },
    /// Something about a fixture.
    Fixture(FixtureEvent),
    /// Work of the cache that takes long.
    Cache(CacheEvent),
    /// Something about a profile's build.
    Profile(ProfileEvent),
    /// Something about the emulated host.
    Host(HostEvent),
}

impl From<FixtureEvent> for Event {
    fn from(event: FixtureEvent) -> Event {
        Event::Fixture(event)
    }
}

impl From<CacheEvent> for Event {
    fn from(event: CacheEvent) -> Event {
        Event::Cache(event)
    }
}

impl From<ProfileEvent> for Event {
    fn from(event: ProfileEvent) -> Event {
        Event::Profile(event)
    }
}

impl From<HostEvent> for Event {
    fn from(event: HostEvent) -> Event {
        Event::Host(event)
    }
}
