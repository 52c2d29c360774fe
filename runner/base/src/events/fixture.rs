//! Events about fixtures: found, built, waited for, evicted.
//!
//! Input: facts from the fixture cache. Output: a [`FixtureEvent`], whose `Display` is one line for people.
//! Each `BuildStarted` is followed by one `BuildDone`, whatever becomes of the build. Not here: the cache.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::units::DisplayDuration;

/// Something that happened to a fixture.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FixtureEvent {
    /// An entry of the cache is used.
    CacheHit {
        /// The fixture.
        fixture: String,
        /// The entry's key, in hexadecimal.
        key: String,
    },
    /// A build begins.
    BuildStarted {
        /// The fixture.
        fixture: String,
    },
    /// The build that began has ended.
    BuildDone {
        /// The fixture.
        fixture: String,
        /// How long it took.
        took: Duration,
        /// Bytes that the entry takes on the disk; 0 when there is none.
        bytes: u64,
        /// Why there is no entry.
        failure: Option<String>,
    },
    /// The fixture is being built elsewhere, which is waited for.
    Waiting {
        /// The fixture.
        fixture: String,
        /// Who builds it; `None` when that is not known.
        builder: Option<FixtureBuilder>,
    },
    /// An entry, or what was in the place of one, was removed.
    Evicted {
        /// The fixture, where that can be told.
        fixture: Option<String>,
        /// The entry's key, or the name of what was among the entries.
        entry: String,
        /// Why.
        why: String,
        /// Whether something was wrong with it, so that the user should hear of it.
        warning: bool,
    },
    /// One of the cache's own records was unusable and is written anew.
    Damaged {
        /// The fixture.
        fixture: String,
        /// What was found.
        what: String,
    },
}

/// Who builds a fixture that another waits for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FixtureBuilder {
    /// Its process.
    pub pid: u32,
    /// That process's command line, shortened.
    pub command: String,
    /// For whom it builds: a test file, say.
    pub by: String,
    /// Whether its process is the one that waits.
    pub own: bool,
    /// For how long it has been building.
    pub since: Duration,
}

impl FixtureEvent {
    /// Whether the user should hear of it even when nothing fails.
    pub fn is_warning(&self) -> bool {
        matches!(
            self,
            FixtureEvent::Damaged { .. } | FixtureEvent::Evicted { warning: true, .. }
        )
    }
}

impl fmt::Display for FixtureEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FixtureEvent::CacheHit { fixture, .. } => write!(f, "fixture `{fixture}`: from the cache"),
            FixtureEvent::BuildStarted { fixture } => write!(f, "fixture `{fixture}`: building"),
            FixtureEvent::BuildDone {
                fixture,
                took,
                failure,
                ..
            } => {
                let took = DisplayDuration(*took);
                match failure {
                    None => write!(f, "fixture `{fixture}`: built in {took}"),
                    // All of it stands where the fixture was asked for.
                    Some(why) => {
                        let why = why.lines().next().unwrap_or_default();
                        write!(f, "fixture `{fixture}`: build failed after {took}: {why}")
                    }
                }
            }
            FixtureEvent::Waiting { fixture, builder } => match builder {
                Some(builder) => write!(f, "fixture `{fixture}`: waiting for {builder}"),
                None => write!(f, "fixture `{fixture}`: waiting for another process"),
            },
            FixtureEvent::Evicted {
                fixture, entry, why, ..
            } => {
                let entry = entry.get(..12).unwrap_or(entry);
                match fixture {
                    Some(fixture) => write!(f, "fixture `{fixture}`: entry {entry} is evicted: {why}"),
                    None => write!(f, "fixture cache: entry {entry} is evicted: {why}"),
                }
            }
            FixtureEvent::Damaged { fixture, what } => write!(f, "fixture `{fixture}`: {what}"),
        }
    }
}

impl fmt::Display for FixtureBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.own {
            true => write!(f, "{} of this run", self.by)?,
            false => write!(f, "process {} ({})", self.pid, self.command)?,
        }
        write!(
            f,
            ", which has been building it for {}",
            DisplayDuration(self.since)
        )
    }
}
