//! What happens to fixtures while a run goes on.
//!
//! Enters: facts from the store. Leaves: [`Event`]s for reports; each `Display`s as one line for people. Each
//! `BuildStarted` is followed by one `BuildDone`, whatever becomes of the build.

use std::fmt;
use std::time::Duration;

use super::holder::Holder;
use provium_base::units::DisplayDuration;

/// Something happened.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
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
        seconds: f64,
        /// What the entry takes on the disk; 0 when there is none.
        bytes: u64,
        /// Why there is no entry.
        failure: Option<String>,
    },
    /// Another builder is at it.
    Waiting {
        /// The fixture.
        fixture: String,
        /// Who builds it; `None` when that is not known.
        holder: Option<Holder>,
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
    /// Something of the cache's own records was unusable and is written anew.
    Damaged {
        /// The fixture.
        fixture: String,
        /// What was found.
        what: String,
    },
}

impl Event {
    /// Whether the user should hear of it even when nothing fails.
    pub fn is_warning(&self) -> bool {
        matches!(self, Event::Damaged { .. } | Event::Evicted { warning: true, .. })
    }
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let took = |seconds: f64| DisplayDuration(Duration::try_from_secs_f64(seconds).unwrap_or_default());
        match self {
            Event::CacheHit { fixture, .. } => write!(f, "fixture `{fixture}`: from the cache"),
            Event::BuildStarted { fixture } => write!(f, "fixture `{fixture}`: building"),
            Event::BuildDone {
                fixture,
                seconds,
                failure: None,
                ..
            } => write!(f, "fixture `{fixture}`: built in {}", took(*seconds)),
            Event::BuildDone {
                fixture,
                seconds,
                failure: Some(why),
                ..
            } => {
                write!(
                    f,
                    "fixture `{fixture}`: build failed after {}: {why}",
                    took(*seconds)
                )
            }
            Event::Waiting { fixture, holder } => match holder {
                Some(holder) => write!(f, "fixture `{fixture}`: waiting for {holder}"),
                None => write!(f, "fixture `{fixture}`: waiting for another process"),
            },
            Event::Evicted {
                fixture, entry, why, ..
            } => {
                let entry = entry.get(..12).unwrap_or(entry);
                match fixture {
                    Some(fixture) => write!(f, "fixture `{fixture}`: entry {entry} is evicted: {why}"),
                    None => write!(f, "fixture cache: entry {entry} is evicted: {why}"),
                }
            }
            Event::Damaged { fixture, what } => write!(f, "fixture `{fixture}`: {what}"),
        }
    }
}
