//! The plain report: a line per file as it ends, what failed below it; at the end a list of what failed and
//! one line for the whole.
//!
//! Input: events. Output: text for people, on stdout. Not here: what is running now.

use std::fmt::Write;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use provium_base::cancel::CancelReason;
use provium_base::events::{Event, Sink};
use provium_base::exit;
use provium_base::outcome::{Counts, FileEnd, FileResult, Summary, TestResult, TestStatus, Timeliness};
use provium_base::subtest;
use provium_base::units::{DisplayDuration, DisplaySeconds};

use super::text::{self, Paint};
use super::{Output, Sections, failure};

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
    /// Makes each file a section of a GitLab job's log.
    sections: Option<Sections>,
    /// A line for each failure so far.
    failed: Mutex<Vec<String>>,
}

/// Most failures that the list at the end names.
const LISTED: usize = 100;
/// Most characters of a line of that list.
const LISTED_LINE: usize = 77;

impl PlainReporter {
    /// A report of that verbosity on `output`.
    pub fn new(output: Arc<Output>, paint: Paint, verbosity: Verbosity) -> Self {
        PlainReporter {
            output,
            paint,
            verbosity,
            sections: None,
            failed: Mutex::default(),
        }
    }

    /// The same with a section for each file, as the log of a GitLab job has them.
    pub fn with_sections(self, sections: Sections) -> Self {
        PlainReporter {
            sections: Some(sections),
            ..self
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
            let failure = result.failure.as_deref();
            failure::write(&mut out, self.paint, "  ", error, failure, &[]);
        }
        if !result.not_run.is_empty() {
            text::indent(&mut out, "  ", &not_run(&result.not_run));
        }
        for line in &result.log {
            text::indent(&mut out, "  | ", line);
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
                let known = test.failure.as_deref();
                let message = known.map_or(message, |failure| &failure.message);
                failure::write(out, self.paint, "    ", message, known, &test.log);
                false
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
        if verbose {
            self.subtests(out, test);
        }
        if written {
            for entry in &test.log {
                text::indent(out, &format!("    {} ", self.paint.dim("|")), entry);
            }
        }
    }

    /// Adds a line for each result of the test's parts.
    fn subtests(&self, out: &mut String, test: &TestResult) {
        subtest::results(&test.subtests, &mut |path, part| {
            let word = match part.status {
                TestStatus::Passed => self.paint.green("pass"),
                TestStatus::Failed | TestStatus::Xpassed => self.paint.red("FAIL"),
                TestStatus::Skipped => self.paint.yellow("skip"),
                TestStatus::Xfailed => self.paint.yellow("XFAIL"),
            };
            let said = part.message.as_deref().map(text::first_line).unwrap_or_default();
            let separator = if said.is_empty() { "" } else { ": " };
            let _ = writeln!(out, "    {word} {}{separator}{said}", text::first_line(path));
        });
    }

    /// Adds the failures of a file to the list.
    fn list(&self, end: &FileEnd) {
        let result = &end.result;
        let path = text::first_line(&result.path);
        let place = |line: Option<u32>| line.map_or(path.clone(), |line| format!("{path}:{line}"));
        let mut failed = self.failed.lock();
        let mut add = |line: Option<u32>, name: &str, message: &str| {
            let what = [text::first_line(name), text::first_line(message)];
            let what: Vec<_> = what.into_iter().filter(|part| !part.is_empty()).collect();
            let line = format!("{} {}", place(line), what.join(": "));
            failed.push(match line.char_indices().nth(LISTED_LINE) {
                Some(_) => line.chars().take(LISTED_LINE - 1).chain(['…']).collect(),
                None => line,
            });
        };
        let before = failed_tests(result).count();
        for test in failed_tests(result) {
            add(test.line, &test.name, test.message.as_deref().unwrap_or_default());
        }
        match (&result.chunk_error, result.failure.as_deref()) {
            (Some(_), Some(failure)) => {
                add(
                    failure.place.as_ref().map(|place| place.line),
                    "",
                    &failure.message,
                );
            }
            (Some(error), None) => {
                let own = error.strip_prefix(&format!("{}:", result.path));
                let own = own.and_then(|rest| rest.split_once(": "));
                let line = own.and_then(|(line, _)| line.parse().ok());
                add(
                    line,
                    "",
                    own.filter(|_| line.is_some()).map_or(error, |(_, what)| what),
                );
            }
            (None, _) if before > 0 => {}
            (None, _) if result.timeout == Timeliness::TimedOut => add(None, "", "its time limit has passed"),
            (None, _) if result.no_tests => add(None, "", "it has no test"),
            (None, _) => add(None, "", "failed"),
        }
    }

    /// The list of what failed; empty when nothing did.
    fn listed(&self) -> String {
        let failed = self.failed.lock();
        if failed.is_empty() {
            return String::new();
        }
        let mut out = format!("{}\n", self.paint.red("failed:"));
        for line in failed.iter().take(LISTED) {
            let _ = writeln!(out, "  {line}");
        }
        if failed.len() > LISTED {
            let _ = writeln!(out, "  … and {} more", failed.len() - LISTED);
        }
        out
    }

    fn summary(&self, summary: &Summary) -> String {
        let mut out = self.listed();
        if let Some(reason) = summary.stopped {
            let why = match (reason, summary.failed + summary.xpassed) {
                (CancelReason::FailFast, 0 | 1) => "stopped at the first failure".to_owned(),
                (CancelReason::FailFast, failed) => format!("stopped after {failed} failures"),
                _ => "interrupted".to_owned(),
            };
            let _ = writeln!(
                out,
                "{}: {} file(s) not run to the end",
                self.paint.yellow(&why),
                summary.unfinished
            );
        }
        let totals = totals(summary);
        let failed = format!("{} failed", summary.failed);
        out.push_str(&match summary.exit_code() {
            exit::FAILED => totals.replacen(&failed, &self.paint.red(&failed), 1),
            _ => totals,
        });
        out
    }
}

/// The line for the whole run.
pub(super) fn totals(summary: &Summary) -> String {
    let counts = Counts {
        passed: summary.passed,
        failed: summary.failed,
        skipped: summary.skipped,
        xfailed: summary.xfailed,
        xpassed: summary.xpassed,
        not_run: summary.not_run,
        flaky: summary.flaky,
        subtests: summary.subtests,
    };
    let (further, elapsed) = (further(&counts), DisplaySeconds(summary.elapsed));
    let host = match summary.host_start.is_zero() {
        true => String::new(),
        false => format!(
            ", {} of them for the start of the emulated host",
            DisplaySeconds(summary.host_start)
        ),
    };
    format!(
        "{} file(s); {} passed, {} failed, {} skipped{further}; {elapsed}{host}\n",
        summary.files, counts.passed, counts.failed, counts.skipped
    )
}

/// The tests of a file that count against the run.
fn failed_tests(result: &FileResult) -> impl Iterator<Item = &TestResult> {
    let tests = result.tests.iter();
    tests.filter(|test| test.status.counts_against_the_run())
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
    let mut out: String = there.map(|(count, word)| format!(", {count} {word}")).collect();
    let subtests = &counts.subtests;
    if subtests.all > 0 {
        let _ = write!(out, ", {} subtests", subtests.all);
        let unlike = [
            (subtests.failed, "failed"),
            (subtests.skipped, "skipped"),
            (subtests.xfailed, "xfailed"),
        ];
        let there = unlike.into_iter().filter(|(count, _)| *count > 0);
        let there: Vec<_> = there.map(|(count, word)| format!("{count} {word}")).collect();
        if !there.is_empty() {
            let _ = write!(out, " ({})", there.join(", "));
        }
    }
    out
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
            // A run that was begun again tells of all failures anew.
            Event::RunStarted { .. } => self.failed.lock().clear(),
            Event::FileEnded(end) if end.selected => {
                if end.failed() {
                    self.list(end);
                }
                if !end.shown_before {
                    let block = self.file(end);
                    let took = Duration::from_nanos(end.result.duration_ns);
                    self.output.write(&match &self.sections {
                        Some(sections) => sections.section(&block, took, !end.failed()),
                        None => block,
                    });
                }
            }
            Event::RunEnded(summary) => self.output.write(&self.summary(summary)),
            _ => {}
        }
    }
}
