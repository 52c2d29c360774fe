//! `--junit`: a file that CI systems read, in the form that Jenkins, GitLab and others share.
//!
//! Input: events. Output: at the run's end an XML file: a suite for each test file, a case for each test and
//! for each result of its parts, and one for a file that failed without a test. Not here: the XML itself,
//! which `quick-junit` writes.

use std::time::Duration;

use parking_lot::Mutex;
use provium_base::events::{Event, Sink};
use provium_base::failure::Failure;
use provium_base::outcome::{FileEnd, TestResult, TestStatus};
use provium_base::subtest;
use quick_junit::{NonSuccessKind, Report, TestCase, TestCaseStatus, TestRerun, TestSuite};

use super::file::ReportFile;
use super::text::{self, Paint};
use super::{failure, file_failure};

/// Most bytes of a log in the file.
const LOG_MAX: usize = 64 << 10;

/// Writes the file.
pub struct JunitReporter {
    file: ReportFile,
    suites: Mutex<Vec<TestSuite>>,
}

impl JunitReporter {
    /// Writes to this file.
    pub fn new(file: ReportFile) -> JunitReporter {
        JunitReporter {
            file,
            suites: Mutex::default(),
        }
    }
}

impl Sink for JunitReporter {
    fn event(&self, event: &Event) {
        match event {
            // Started again in a host that froze, a run tells of its files again.
            Event::RunStarted { .. } => self.suites.lock().clear(),
            Event::FileEnded(end) if end.selected => self.suites.lock().push(suite(end)),
            Event::RunEnded(summary) => {
                let mut report = Report::new("provium");
                report.set_time(summary.elapsed);
                report.add_test_suites(self.suites.lock().drain(..));
                self.file.write(written(&report).as_bytes());
            }
            _ => {}
        }
    }
}

/// The report as XML. The schema of Jenkins' xunit plugin knows no `skipped` of the whole report.
fn written(report: &Report) -> String {
    let xml = report.to_string().expect("text can be written to memory");
    xml.replacen(&format!(" skipped=\"{}\"", report.skipped), "", 1)
}

/// Text that XML can hold, without anything that speaks to a terminal or to the CI.
fn xml(text: &str) -> String {
    text::clean(text).replace(['\u{fffe}', '\u{ffff}'], "\u{fffd}")
}

fn suite(end: &FileEnd) -> TestSuite {
    let result = &end.result;
    let mut suite = TestSuite::new(xml(&result.path));
    suite.set_time(Duration::from_nanos(result.duration_ns));
    let class = class_name(&result.path);
    let mut add = |mut case: TestCase| {
        case.set_classname(class.as_str());
        suite.add_test_case(case);
    };
    for test in &result.tests {
        add(case(test));
        parts(test, &mut add);
    }
    for name in &result.not_run {
        let mut status = TestCaseStatus::skipped();
        status
            .set_message("not run: its file ended before")
            .set_type("not run");
        add(TestCase::new(xml(name), status));
    }
    if let Some(message) = file_failure(end) {
        let mut status = TestCaseStatus::non_success(NonSuccessKind::Error);
        status
            .set_type("file")
            .set_message(xml(&text::first_line(&message)));
        status.set_description(explained(&message, result.failure.as_deref(), &[]));
        add(TestCase::new("(the file itself)", status));
    }
    suite
}

/// The path as the name of a class: `tests/net.test.lua` is `tests.net`.
fn class_name(path: &str) -> String {
    let stem = path
        .strip_suffix(".test.lua")
        .or(path.strip_suffix(".lua"))
        .unwrap_or(path);
    xml(stem.trim_start_matches("./")).replace('/', ".")
}

fn case(test: &TestResult) -> TestCase {
    let message = test.message.as_deref().unwrap_or_default();
    let mut status = status(test.status, message);
    if test.status.counts_against_the_run() {
        status.set_description(explained(message, test.failure.as_deref(), &test.log));
    }
    if test.flaky {
        for (_, earlier) in earlier_attempts(test) {
            let mut run = TestRerun::new(NonSuccessKind::Failure);
            run.set_type("failed")
                .set_message(xml(&text::first_line(earlier)));
            run.set_description(xml(earlier));
            status.add_rerun(run);
        }
    }
    let mut case = TestCase::new(xml(&text::first_line(&test.name)), status);
    case.set_time(Duration::from_nanos(test.duration_ns));
    if !test.log.is_empty() {
        let log = test.log.join("\n");
        case.set_system_out(xml(text::last_bytes(&log, LOG_MAX)));
    }
    case
}

/// The failures of a test before it passed, which its log has.
fn earlier_attempts(test: &TestResult) -> impl Iterator<Item = (&str, &str)> {
    let attempts = test.log.iter().take(test.attempts.saturating_sub(1) as usize);
    attempts.filter_map(|entry| entry.split_once(" failed: "))
}

/// A case for each result of the test's parts.
fn parts(test: &TestResult, add: &mut dyn FnMut(TestCase)) {
    subtest::results(&test.subtests, &mut |path, part| {
        let message = part.message.as_deref().unwrap_or_default();
        let mut status = status(part.status, message);
        if part.status.counts_against_the_run() {
            status.set_description(xml(message));
        }
        let name = format!("{} / {}", text::first_line(&test.name), text::first_line(path));
        let mut case = TestCase::new(xml(&name), status);
        case.set_time(Duration::from_nanos(part.duration_ns));
        add(case);
    });
}

fn status(status: TestStatus, message: &str) -> TestCaseStatus {
    let (mut made, kind) = match status {
        TestStatus::Passed => return TestCaseStatus::success(),
        TestStatus::Failed => (TestCaseStatus::non_success(NonSuccessKind::Failure), "failed"),
        TestStatus::Xpassed => (TestCaseStatus::non_success(NonSuccessKind::Failure), "xpassed"),
        TestStatus::Skipped => (TestCaseStatus::skipped(), "skipped"),
        TestStatus::Xfailed => (TestCaseStatus::skipped(), "xfailed"),
    };
    made.set_type(kind).set_message(xml(&text::first_line(message)));
    made
}

/// All that the plain report says of a failure.
fn explained(message: &str, known: Option<&Failure>, log: &[String]) -> String {
    let mut out = String::new();
    let message = known.map_or(message, |failure| &failure.message);
    failure::write(&mut out, Paint(false), "", message, known, log);
    xml(&out)
}
