//! The plain report: a line per file as it ends, what failed below it, one line for the whole at the end.
//!
//! Input: events. Output: text for people, on stdout. Not here: what is running now.

use std::fmt::Write;
use std::sync::Arc;
use std::time::Duration;

use provium_base::cancel::CancelReason;
use provium_base::events::{Event, Sink};
use provium_base::exit;
use provium_base::outcome::{Counts, FileEnd, Summary, TestResult, TestStatus, Timeliness};
use provium_base::units::{DisplayDuration, DisplaySeconds};

use super::Output;
use super::text::{self, Paint};

/// How much the plain report says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verbosity {
    /// Only failures and the last line.
    Quiet,
    /// A line per file, and failures.
    Normal,
    /// Every test with its duration and log.
    Verbose,
}

/// Writes the plain report.
pub struct PlainReporter {
    output: Arc<Output>,
    paint: Paint,
    verbosity: Verbosity,
}

impl PlainReporter {
    /// A report of that verbosity on `output`.
    pub fn new(output: Arc<Output>, paint: Paint, verbosity: Verbosity) -> Self {
        PlainReporter {
            output,
            paint,
            verbosity,
        }
    }

    fn file(&self, end: &FileEnd) -> String {
        let result = &end.result;
        let word = match (result.timeout, result.passed) {
            (Timeliness::TimedOut, _) => self.paint.red("TIME"),
            (_, true) => self.paint.green("PASS"),
            _ if result.no_tests => self.paint.red("NONE"),
            _ if end.stopped => self.paint.yellow("STOP"),
            _ => self.paint.red("FAIL"),
        };
        if self.verbosity == Verbosity::Quiet && !end.failed() {
            return String::new();
        }
        let counts = end.counts();
        let path = text::clean(&result.path);
        let mut out = format!(
            "{word} {path} ({} passed, {} failed, {} skipped{})\n",
            counts.passed,
            counts.failed,
            counts.skipped,
            further(&counts)
        );
        for test in &result.tests {
            self.test(&mut out, &path, test, end.stopped);
        }
        if let Some(error) = &result.chunk_error {
            text::indent(&mut out, "  ", error);
        }
        if !result.not_run.is_empty() {
            text::indent(&mut out, "  ", &not_run(&result.not_run));
        }
        if result.no_tests && !result.passed {
            let hint = "it has no test: no `test(…)`, no assertion, no `todo()`; --allow-empty lets it pass";
            text::indent(&mut out, "  ", hint);
        }
        out
    }

    fn test(&self, out: &mut String, path: &str, test: &TestResult, stopped: bool) {
        let verbose = self.verbosity == Verbosity::Verbose;
        let (name, took) = (
            text::clean(&test.name),
            self.paint
                .dim(&DisplayDuration(Duration::from_nanos(test.duration_ns)).to_string()),
        );
        let message = test.message.as_deref().unwrap_or_default();
        let written = match test.status {
            TestStatus::Failed | TestStatus::Xpassed => {
                let word = match test.status {
                    TestStatus::Xpassed => "XPASS",
                    _ => "FAIL",
                };
                let place = test
                    .line
                    .map(|line| format!(" ({path}:{line})"))
                    .unwrap_or_default();
                let _ = writeln!(
                    out,
                    "  {} {name}{} {took}",
                    self.paint.red(word),
                    self.paint.dim(&place)
                );
                text::indent(out, "    ", message);
                true
            }
            // Where a run was stopped is worth a line; so is a test that passed only when tried again.
            TestStatus::Skipped if verbose || stopped => {
                let reason = text::first_line(message);
                let separator = if reason.is_empty() { "" } else { ": " };
                let _ = writeln!(out, "  {} {name}{separator}{reason}", self.paint.yellow("skip"));
                verbose
            }
            TestStatus::Xfailed if verbose => {
                let _ = writeln!(
                    out,
                    "  {} {name}: {}",
                    self.paint.yellow("XFAIL"),
                    text::first_line(message)
                );
                true
            }
            TestStatus::Passed if verbose || !message.is_empty() => {
                let _ = writeln!(out, "  {} {name} {took}", self.paint.green("pass"));
                text::indent(out, "    ", message);
                verbose
            }
            _ => false,
        };
        if written {
            for entry in &test.log {
                text::indent(out, &format!("    {} ", self.paint.dim("|")), entry);
            }
            for console in test.failure.iter().flat_map(|failure| &failure.consoles) {
                let bar = format!("    {} ", self.paint.dim("|"));
                text::indent(out, &bar, &format!("console of VM `{}`:", console.vm));
                text::indent(out, &bar, text::last_bytes(console.text.trim_end(), 4096));
            }
        }
    }

    fn summary(&self, summary: &Summary) -> String {
        let mut out = String::new();
        if let Some(reason) = summary.stopped {
            let why = match reason {
                CancelReason::FailFast => "stopped at the first failure",
                _ => "interrupted",
            };
            let _ = writeln!(
                out,
                "{}: {} file(s) not run to the end",
                self.paint.yellow(why),
                summary.unfinished
            );
        }
        let counts = Counts {
            passed: summary.passed,
            failed: summary.failed,
            skipped: summary.skipped,
            xfailed: summary.xfailed,
            xpassed: summary.xpassed,
            not_run: summary.not_run,
            flaky: summary.flaky,
        };
        let failed = format!("{} failed", counts.failed);
        let failed = if summary.exit_code() == exit::FAILED {
            self.paint.red(&failed)
        } else {
            failed
        };
        let (files, passed, skipped) = (summary.files, counts.passed, counts.skipped);
        let (further, elapsed) = (further(&counts), DisplaySeconds(summary.elapsed));
        let _ = writeln!(
            out,
            "{files} file(s); {passed} passed, {failed}, {skipped} skipped{further}; {elapsed}"
        );
        out
    }
}

/// The counts that are seldom there, as far as they are.
fn further(counts: &Counts) -> String {
    let further = [
        (counts.xfailed, "xfailed"),
        (counts.xpassed, "xpassed"),
        (counts.not_run, "not run"),
        (counts.flaky, "flaky"),
    ];
    let there = further.into_iter().filter(|(count, _)| *count > 0);
    there.map(|(count, word)| format!(", {count} {word}")).collect()
}

/// Most tests that are named as not run; the rest is counted.
const NAMED: usize = 10;

/// A line that names the tests that never began.
fn not_run(names: &[String]) -> String {
    let mut shown: Vec<_> = names
        .iter()
        .take(NAMED)
        .map(|name| text::first_line(name))
        .collect();
    if names.len() > NAMED {
        shown.push(format!("{} more", names.len() - NAMED));
    }
    format!("not run: {}", shown.join(", "))
}

impl Sink for PlainReporter {
    fn event(&self, event: &Event) {
        match event {
            Event::FileEnded(end) if end.selected && !end.shown_before => self.output.write(&self.file(end)),
            Event::RunEnded(summary) => self.output.write(&self.summary(summary)),
            _ => {}
        }
    }
}
