//! The summary of a job of GitHub Actions: what came of the run, and each failure, as a page of the job.
//!
//! Input: events. Output: Markdown, added at the run's end to the file that the job names. What tests and
//! guests said is escaped, and bounded: a job's summary has at most a megabyte. Not here: whether this is a
//! job of GitHub Actions.

use std::fmt::Write;

use parking_lot::Mutex;
use provium_base::events::{Event, Sink};
use provium_base::outcome::{FileEnd, Summary};

use super::file::ReportFile;
use super::text::{self, Paint};
use super::{failure, file_failure, plain};

/// Most failures that are shown; the rest is counted.
const SHOWN: usize = 50;
/// Most bytes of one of them, before it is escaped.
const FAILURE_MAX: usize = 3000;

/// Adds to the summary.
pub struct StepSummaryReporter {
    file: ReportFile,
    failures: Mutex<Vec<String>>,
}

impl StepSummaryReporter {
    /// Adds to this file.
    pub fn new(file: ReportFile) -> StepSummaryReporter {
        StepSummaryReporter {
            file,
            failures: Mutex::default(),
        }
    }

    fn add(&self, end: &FileEnd) {
        let result = &end.result;
        let mut failures = self.failures.lock();
        for test in result
            .tests
            .iter()
            .filter(|test| test.status.counts_against_the_run())
        {
            let place = test
                .line
                .map_or(result.path.clone(), |line| format!("{}:{line}", result.path));
            let known = test.failure.as_deref();
            let message = test.message.as_deref().unwrap_or_default();
            let message = known.map_or(message, |failure| &failure.message);
            let mut body = String::new();
            failure::write(&mut body, Paint(false), "", message, known, &test.log);
            failures.push(details(&format!("{place} {}", test.name), &body));
        }
        if let Some(message) = file_failure(end) {
            let mut body = String::new();
            failure::write(
                &mut body,
                Paint(false),
                "",
                &message,
                result.failure.as_deref(),
                &[],
            );
            failures.push(details(&result.path, &body));
        }
    }

    fn page(&self, summary: &Summary) -> String {
        let word = if summary.exit_code() == 0 {
            "passed"
        } else {
            "failed"
        };
        let mut out = format!(
            "### provium: {word}\n\n{}\n\n",
            html(plain::totals(summary).trim_end())
        );
        let failures = self.failures.lock();
        failures
            .iter()
            .take(SHOWN)
            .for_each(|failure| out.push_str(failure));
        if failures.len() > SHOWN {
            let _ = writeln!(out, "… and {} more failures\n", failures.len() - SHOWN);
        }
        out
    }
}

impl Sink for StepSummaryReporter {
    fn event(&self, event: &Event) {
        match event {
            // Started again in a host that froze, a run tells of its files again.
            Event::RunStarted { .. } => self.failures.lock().clear(),
            Event::FileEnded(end) if end.selected && !end.stopped => self.add(end),
            Event::RunEnded(summary) => self.file.append(self.page(summary).as_bytes()),
            _ => {}
        }
    }
}

/// A heading that opens. The lines are one block of HTML, which nothing in them can end.
fn details(title: &str, body: &str) -> String {
    let body = text::last_bytes(body, FAILURE_MAX);
    format!(
        "<details><summary><code>{}</code></summary>\n<pre>{}</pre>\n</details>\n\n",
        html(&text::first_line(title)),
        html(text::clean(body).trim_end()).replace('\n', "&#10;")
    )
}

/// Text that HTML and Markdown show as it is.
fn html(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            // What Markdown would take for its own, in a line of HTML too.
            '*' | '_' | '`' | '[' | ']' | '|' | '\\' | '~' | '#' | '@' | ':' | '!' | '$' => {
                let _ = write!(out, "&#{};", c as u32);
            }
            c => out.push(c),
        }
    }
    out
}
