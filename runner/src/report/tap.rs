//! `--tap` and `--ktap`: the report as the Test Anything Protocol, or as the kernel writes it.
//!
//! Input: events. Output: TAP 13 with the subtests of TAP 14, a point for each test as its file ends and the
//! plan behind the last; or KTAP 1, a result for each file in which its tests are nested. A test's parts are
//! nested in it. Not here: reading either.
//!
//! What a guest said stands behind `# |`, or in a name without a `#`: it cannot make a result, which the
//! kernel's own tests have behind a `#` alone.

use std::fmt::Write;
use std::sync::Arc;

use parking_lot::Mutex;
use provium_base::events::{Event, Sink};
use provium_base::failure::Failure;
use provium_base::outcome::{FileEnd, Summary, TestResult, TestStatus};
use provium_base::subtest::Subtest;

use super::text::{self, Paint};
use super::{Output, failure, file_failure};

/// Which protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// TAP 13, since perl's own reader refuses a 14, with the subtests of TAP 14, which it passes over.
    Tap,
    /// The kernel's: <https://docs.kernel.org/dev-tools/ktap.html>.
    Ktap,
}

/// Writes the report.
pub struct TapReporter {
    output: Arc<Output>,
    dialect: Dialect,
    state: Mutex<State>,
}

/// How far the report is.
#[derive(Default)]
struct State {
    /// Files of the run.
    files: usize,
    /// Points so far on the outermost level.
    points: usize,
    /// Whether the version line is out.
    begun: bool,
}

/// A result line without its number.
struct Point<'a> {
    ok: bool,
    name: String,
    directive: Option<String>,
    /// Lines that explain it.
    comment: String,
    inner: &'a [Subtest],
}

impl TapReporter {
    /// Writes this dialect to `output`.
    pub fn new(output: Arc<Output>, dialect: Dialect) -> TapReporter {
        TapReporter {
            output,
            dialect,
            state: Mutex::default(),
        }
    }

    fn version(&self, state: &mut State) -> String {
        match (std::mem::replace(&mut state.begun, true), self.dialect) {
            (true, _) => String::new(),
            (false, Dialect::Tap) => "TAP version 13\n".to_owned(),
            (false, Dialect::Ktap) => format!("KTAP version 1\n1..{}\n", state.files),
        }
    }

    fn file(&self, end: &FileEnd) {
        let mut state = self.state.lock();
        if end.shown_before {
            // An earlier start of the run has written it, behind the version.
            state.begun = true;
            state.points += match self.dialect {
                Dialect::Tap => points(end).len(),
                Dialect::Ktap => 1,
            };
            return;
        }
        let mut out = self.version(&mut state);
        match self.dialect {
            Dialect::Tap => {
                for mut point in points(end) {
                    state.points += 1;
                    point.name = format!("{} > {}", end.result.path, point.name);
                    self.point(&mut out, "", state.points, &point);
                }
            }
            Dialect::Ktap => {
                state.points += 1;
                let points = points(end);
                let nested: Vec<_> = points.iter().collect();
                if end.selected && !nested.is_empty() {
                    self.nested(&mut out, "", &nested);
                }
                let directive = (!end.selected).then(|| "SKIP no test of it is wanted".to_owned());
                let point = Point {
                    ok: !end.failed(),
                    name: end.result.path.clone(),
                    directive,
                    comment: String::new(),
                    inner: &[],
                };
                self.point(&mut out, "", state.points, &point);
            }
        }
        self.output.write(&out);
    }

    /// A level below `indent`.
    fn nested(&self, out: &mut String, indent: &str, points: &[&Point<'_>]) {
        let (below, count) = (format!("{indent}{}", self.step()), points.len());
        if self.dialect == Dialect::Ktap {
            let _ = writeln!(out, "{below}KTAP version 1\n{below}1..{count}");
        }
        for (at, point) in points.iter().enumerate() {
            self.point(out, &below, at + 1, point);
        }
        if self.dialect == Dialect::Tap {
            let _ = writeln!(out, "{below}1..{count}");
        }
    }

    fn step(&self) -> &'static str {
        match self.dialect {
            Dialect::Tap => "    ",
            Dialect::Ktap => "  ",
        }
    }

    fn point(&self, out: &mut String, indent: &str, number: usize, point: &Point<'_>) {
        let name = self.name(&point.name);
        if !point.inner.is_empty() {
            if self.dialect == Dialect::Tap {
                let _ = writeln!(out, "{indent}# Subtest: {name}");
            }
            let inner: Vec<_> = point.inner.iter().map(part).collect();
            self.nested(out, indent, &inner.iter().collect::<Vec<_>>());
        }
        let mut line = format!(
            "{indent}{}ok {number} - {name}",
            if point.ok { "" } else { "not " }
        );
        if let Some(directive) = &point.directive {
            let _ = write!(line, " # {}", text::first_line(directive));
        }
        let mut comment = String::new();
        for said in point.comment.lines() {
            let _ = writeln!(comment, "{}", format!("{indent}# | {said}").trim_end());
        }
        // The kernel explains a result before its line, everybody else behind it.
        let _ = match self.dialect {
            Dialect::Tap => write!(out, "{line}\n{comment}"),
            Dialect::Ktap => writeln!(out, "{comment}{line}"),
        };
    }

    /// A name in which no `#` begins a directive.
    fn name(&self, name: &str) -> String {
        let name = text::first_line(name);
        match self.dialect {
            Dialect::Tap => name.replace('\\', "\\\\").replace('#', "\\#"),
            Dialect::Ktap => name.replace('#', "_"),
        }
    }

    fn end(&self, summary: &Summary) {
        let mut state = self.state.lock();
        let mut out = self.version(&mut state);
        if let Some(reason) = summary.stopped {
            let _ = writeln!(
                out,
                "Bail out! {reason}, {} file(s) not run to the end",
                summary.unfinished
            );
        }
        if self.dialect == Dialect::Tap {
            let _ = writeln!(out, "1..{}", state.points);
        }
        *state = State::default();
        self.output.write(&out);
    }
}

impl Sink for TapReporter {
    fn event(&self, event: &Event) {
        match event {
            Event::RunStarted { files } => {
                // Started again in a host that froze, a run tells of its files again; the version is out.
                let mut state = self.state.lock();
                (state.files, state.points) = (*files, 0);
            }
            Event::FileEnded(end) if end.selected || self.dialect == Dialect::Ktap => self.file(end),
            Event::RunEnded(summary) => self.end(summary),
            _ => {}
        }
    }
}

/// A point for each test of a file, for those that never began, and for a failure of the file itself.
fn points(end: &FileEnd) -> Vec<Point<'_>> {
    let result = &end.result;
    let tests = result.tests.iter().map(test);
    let not_run = result.not_run.iter().map(|name| Point {
        ok: true,
        name: name.clone(),
        directive: Some("SKIP not run: its file ended before".to_owned()),
        comment: String::new(),
        inner: &[],
    });
    let file = file_failure(end).map(|message| Point {
        ok: false,
        name: "(the file itself)".to_owned(),
        directive: None,
        comment: explained(&message, result.failure.as_deref(), &[]),
        inner: &[],
    });
    tests.chain(not_run).chain(file).collect()
}

fn test(test: &TestResult) -> Point<'_> {
    let message = test.message.as_deref().unwrap_or_default();
    let (ok, directive) = judged(test.status, message);
    let comment = match (test.status.counts_against_the_run(), test.flaky) {
        (true, _) => explained(message, test.failure.as_deref(), &test.log),
        (_, true) => text::first_line(message),
        _ => String::new(),
    };
    Point {
        ok,
        name: test.name.clone(),
        directive,
        comment,
        inner: &test.subtests,
    }
}

fn part(part: &Subtest) -> Point<'_> {
    let message = part.message.as_deref().unwrap_or_default();
    let (ok, directive) = judged(part.status, message);
    let comment = match part.status.counts_against_the_run() {
        true => text::clean(message),
        false => String::new(),
    };
    Point {
        ok,
        name: part.name.clone(),
        directive,
        comment,
        inner: &part.subtests,
    }
}

fn judged(status: TestStatus, message: &str) -> (bool, Option<String>) {
    match status {
        TestStatus::Passed => (true, None),
        // One that passed where a failure is expected counts against the run, which `TODO` would hide.
        TestStatus::Failed | TestStatus::Xpassed => (false, None),
        TestStatus::Skipped => (true, Some(format!("SKIP {message}"))),
        TestStatus::Xfailed => (false, Some(format!("TODO {message}"))),
    }
}

/// All that the plain report says of a failure.
fn explained(message: &str, known: Option<&Failure>, log: &[String]) -> String {
    let mut out = String::new();
    let message = known.map_or(message, |failure| &failure.message);
    failure::write(&mut out, Paint(false), "", message, known, log);
    out
}
