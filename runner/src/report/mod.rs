//! What a run says while it goes: events in, text out.
//!
//! Input: [events](provium_base::events), from several threads; each reporter is a
//! [`Sink`](provium_base::events::Sink) and makes of them what it is for. Output: text on stdout or stderr.
//! Not here: anything that is not in an event.
//!
//! ```text
//! plain, json, tap    the report itself, on stdout
//! stream              frames for other programs, while it goes
//! coverage            tests by the ids of a specification
//! junit               a file for CI systems
//! live, progress      what runs now, on stderr
//! notices, host       what happens beside: fixtures, profiles' builds, the emulated host
//! slowest             the slowest tests, at the end
//! github, gitlab      annotations, and sections of the log
//! step_summary        a page of a GitHub job
//! failure             all that is said of one failure
//! file                reports that are files
//! output, text        where it goes; colours and guests' control characters
//! ```

pub mod coverage;
mod failure;
mod file;
mod github;
mod gitlab;
mod host;
mod json;
mod junit;
mod live;
mod notices;
mod output;
mod plain;
mod progress;
mod slowest;
mod step_summary;
mod stream;
mod tap;
#[cfg(test)]
mod tests;
mod text;

use provium_base::outcome::{FileEnd, Timeliness};

pub use file::{ReportError, ReportFile};
pub use github::GithubReporter;
pub use gitlab::Sections;
pub use host::HostReporter;
pub use json::JsonReporter;
pub use junit::JunitReporter;
pub use live::LiveView;
pub use notices::{NoticeReporter, Notices};
pub use output::Output;
pub use plain::{PlainReporter, Verbosity};
pub use progress::ProgressReporter;
pub use slowest::SlowestReporter;
pub use step_summary::StepSummaryReporter;
pub use stream::{EventFile, EventSocket, EventStdout, EventStream, Listened, Target};
pub use tap::{Dialect, TapReporter};
pub use text::Paint;
pub(crate) use text::clean;

/// What to say of a file that counts against the run without a test that does.
fn file_failure(end: &FileEnd) -> Option<String> {
    let result = &end.result;
    let known = result.failure.as_deref().map(|failure| failure.message.clone());
    let of_a_test = result
        .tests
        .iter()
        .any(|test| test.status.counts_against_the_run());
    match known.or(result.chunk_error.clone()) {
        // A run that was stopped is no verdict on a file.
        _ if !end.failed() => None,
        Some(error) => Some(error),
        None if of_a_test => None,
        None if result.timeout == Timeliness::TimedOut => Some("the file's time limit has passed".to_owned()),
        None if result.no_tests => Some("the file has no test".to_owned()),
        None => Some("failed".to_owned()),
    }
}
