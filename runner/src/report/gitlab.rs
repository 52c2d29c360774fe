//! Sections in the log of a GitLab job: a block that can be closed, and is where nobody has to read it.
//!
//! Input: a block of the plain report. Output: the same between the marks of a section. Not here: whether
//! this is a job of GitLab.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Makes sections, each with a name of its own.
#[derive(Debug, Default)]
pub struct Sections {
    made: AtomicUsize,
}

impl Sections {
    /// The block as a section that took so long and whose heading is the first line; a block of one line is
    /// none.
    pub(super) fn section(&self, block: &str, took: Duration, closed: bool) -> String {
        let Some((heading, body)) = block.split_once('\n').filter(|(_, body)| !body.is_empty()) else {
            return block.to_owned();
        };
        let number = self.made.fetch_add(1, Ordering::Relaxed);
        let end = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let (start, end) = (end.saturating_sub(took).as_secs(), end.as_secs());
        let state = if closed { "[collapsed=true]" } else { "" };
        let (clear, name) = ("\u{1b}[0K", format!("provium_{number}"));
        format!(
            "{clear}section_start:{start}:{name}{state}\r{clear}{heading}\n{body}{clear}section_end:{end}:{name}\r{clear}\n"
        )
    }
}
