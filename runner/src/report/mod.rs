//! What a run says while it goes: events in, text out.
//!
//! Input: [events](provium_base::events), from several threads; each reporter is a
//! [`Sink`](provium_base::events::Sink) and makes of them what it is for. Output: text on stdout or stderr.
//! Not here: anything that is not in an event.
//!
//! ```text
//! plain, json         the report itself, on stdout
//! live, progress      what runs now, on stderr
//! notices, host       what happens beside: fixtures, profiles' builds, the emulated host
//! github              failures as annotations
//! slowest             the slowest tests, at the end
//! output, text        where it goes; colours and guests' control characters
//! ```

mod github;
mod host;
mod json;
mod live;
mod notices;
mod output;
mod plain;
mod progress;
mod slowest;
#[cfg(test)]
mod tests;
mod text;

pub use github::GithubReporter;
pub use host::HostReporter;
pub use json::JsonReporter;
pub use live::LiveView;
pub use notices::{NoticeReporter, Notices};
pub use output::Output;
pub use plain::{PlainReporter, Verbosity};
pub use progress::ProgressReporter;
pub use slowest::SlowestReporter;
pub use text::Paint;
pub(crate) use text::clean;
