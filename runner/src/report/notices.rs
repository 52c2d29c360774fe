//! Lines about what happens beside the tests: fixtures, profiles' builds, where tests run, Ctrl-C.
//!
//! Input: events. Output: a line each on stderr, `provium: …`, as far as [`Notices`] wants them. Not here:
//! the words, which are the events' own, but for the answer to Ctrl-C.

use std::sync::Arc;

use provium_base::cancel::CancelReason;
use provium_base::events::{Event, FixtureEvent, HostEvent, Sink};

use super::Output;

/// Which events get a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Notices {
    /// Profiles' builds, and warnings about fixtures.
    Few,
    /// And what explains a wait: fixtures that are built or waited for, large files that are read, and that
    /// tests run in the emulated host.
    Waits,
    /// And fixtures that are found in the cache.
    All,
}

/// Writes the lines.
pub struct NoticeReporter {
    output: Arc<Output>,
    notices: Notices,
}

impl NoticeReporter {
    /// Writes those of `notices` to `output`.
    pub fn new(output: Arc<Output>, notices: Notices) -> Self {
        NoticeReporter { output, notices }
    }

    fn wants(&self, event: &FixtureEvent) -> bool {
        match self.notices {
            Notices::All => true,
            Notices::Few => event.is_warning(),
            Notices::Waits => event.is_warning() || !matches!(event, FixtureEvent::CacheHit { .. }),
        }
    }
}

impl Sink for NoticeReporter {
    fn event(&self, event: &Event) {
        let line = match event {
            Event::Fixture(event) if self.wants(event) => event.to_string(),
            Event::Profile(event) => event.to_string(),
            Event::Warning { message } => format!("warning: {message}"),
            Event::Cache(event) if self.notices != Notices::Few => event.to_string(),
            Event::Host(event @ HostEvent::Chosen { because: Some(_) }) if self.notices != Notices::Few => {
                event.to_string()
            }
            Event::RunStopping {
                reason: CancelReason::Interrupted,
            } => "ending the running tests; Ctrl-C again to quit at once".to_owned(),
            _ => return,
        };
        self.output.write(&format!("provium: {line}\n"));
    }
}
