//! The slowest tests of a run, named at its end.
//!
//! Input: events. Output: a line for each, slowest first, before the last lines of the report. Not here:
//! tests that were skipped.

use std::cmp::Reverse;
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use provium_base::events::{Event, Sink};
use provium_base::outcome::TestStatus;
use provium_base::units::DisplayDuration;

use super::Output;
use super::text;

/// Writes the slowest tests.
pub struct SlowestReporter {
    output: Arc<Output>,
    /// How many are named.
    most: usize,
    /// The slowest so far, slowest first: nanoseconds and words.
    slowest: Mutex<Vec<(u64, String)>>,
}

impl SlowestReporter {
    /// Names `most` tests on `output`.
    pub fn new(output: Arc<Output>, most: usize) -> Self {
        SlowestReporter {
            output,
            most,
            slowest: Mutex::default(),
        }
    }
}

impl Sink for SlowestReporter {
    fn event(&self, event: &Event) {
        match event {
            Event::FileEnded(end) => {
                let mut slowest = self.slowest.lock();
                for test in end
                    .result
                    .tests
                    .iter()
                    .filter(|test| test.status != TestStatus::Skipped)
                {
                    let place = [text::first_line(&end.result.path), text::first_line(&test.name)];
                    slowest.push((test.duration_ns, place.join("::")));
                }
                slowest.sort_by_key(|(time, _)| Reverse(*time));
                slowest.truncate(self.most);
            }
            Event::RunEnded(_) => {
                let mut text = String::from("slowest:\n");
                let slowest = std::mem::take(&mut *self.slowest.lock());
                for (time, test) in &slowest {
                    let time = DisplayDuration(Duration::from_nanos(*time)).to_string();
                    let _ = writeln!(text, "  {time:>10}  {test}");
                }
                if !slowest.is_empty() {
                    self.output.write(&text);
                }
            }
            _ => {}
        }
    }
}
