//! What the frames of the event stream carry.
//!
//! Input: events and results. Output: payloads, as docs/reference/events.md describes them. Not here: which
//! frame comes when.

use std::time::Instant;

use provium_base::events::{Amount, FixtureEvent, FoundFile, VmChange, VmEvent, VmStart};
use provium_base::meta::{Meta, MetaValue};
use provium_base::outcome::{FileEnd, Summary, TestResult, TestStatus, Timeliness};
use provium_base::subtest;

use super::frame::Fields;
use crate::report::text;

/// Most bytes of a console in a frame.
const EXCERPT: usize = 4096;

/// Nanoseconds since then.
pub(super) fn since(then: Instant) -> i64 {
    i64::try_from(then.elapsed().as_nanos()).unwrap_or(i64::MAX)
}

pub(super) fn amount(amount: Amount) -> MetaValue {
    let fields = Fields::default().number("memory_bytes", amount.memory);
    fields.number("cpus", amount.cpus).map()
}

fn meta(meta: &Meta) -> MetaValue {
    MetaValue::Map(meta.clone())
}

pub(super) fn found(file: &FoundFile) -> Fields {
    let refs = file
        .fixtures
        .iter()
        .map(|name| MetaValue::Text(text::clean(name)));
    let found = Fields::default()
        .text("path", &file.path)
        .value("fixture_refs", MetaValue::Array(refs.collect()));
    match file.claim {
        Some(claim) => found.value("declared_claim", amount(claim)),
        None => found,
    }
}

/// A file is charged for its VMs as they boot, so nothing is reserved when it begins.
pub(super) fn dispatched(path: &str) -> Fields {
    let fields = Fields::default().text("path", path);
    fields.value("reservation", amount(Amount::default()))
}

pub(super) fn completed(end: &FileEnd) -> Fields {
    let result = &end.result;
    let status = match (result.timeout, result.passed) {
        (Timeliness::TimedOut, _) => "timed_out",
        (_, true) => "passed",
        _ if end.stopped => "stopped",
        _ => "failed",
    };
    Fields::default()
        .text("path", &result.path)
        .text("status", status)
        .number("duration_ns", result.duration_ns)
        .maybe("reason", result.chunk_error.as_deref())
}

pub(super) fn test(path: &str, name: &str, of: &Meta) -> Fields {
    let fields = Fields::default().text("path", path);
    fields.text("name", name).value("meta", meta(of))
}

/// The frame for a test's end.
pub(super) fn ended(path: &str, result: &TestResult) -> (&'static str, Fields) {
    let message = result.message.as_deref().unwrap_or_default();
    let fields = test(path, &result.name, &result.meta);
    let fields = with_subtests(fields, result);
    let ran = |fields: Fields| {
        let fields = fields.number("duration_ns", result.duration_ns);
        fields.number("attempts", result.attempts)
    };
    match result.status {
        TestStatus::Passed => ("test_passed", ran(fields)),
        TestStatus::Skipped => ("test_skipped", fields.text("reason", message)),
        TestStatus::Xfailed => (
            "test_skipped",
            fields
                .text("reason", message)
                .value("xfailed", MetaValue::Bool(true)),
        ),
        TestStatus::Failed | TestStatus::Xpassed => ("test_failed", failed(ran(fields), result, message)),
    }
}

fn failed(fields: Fields, result: &TestResult, message: &str) -> Fields {
    let failure = result.failure.as_deref();
    let console = failure.and_then(|failure| failure.consoles.first());
    let console = console.map_or("", |console| text::last_bytes(console.text.trim_end(), EXCERPT));
    let fields = fields.text("reason", message).text("console_excerpt", console);
    let fields = match result.line {
        Some(line) => fields.number("line", line),
        None => fields.value("line", MetaValue::Nil),
    };
    match failure.and_then(|failure| failure.splats.first()) {
        Some(splat) => {
            let shown = Fields::default().text("vm", &splat.vm).text("kind", &splat.kind);
            fields.value(
                "splat",
                shown.text("head", &splat.head).text("text", &splat.text).map(),
            )
        }
        None => fields,
    }
}

fn with_subtests(fields: Fields, result: &TestResult) -> Fields {
    let mut subtests = Vec::new();
    subtest::results(&result.subtests, &mut |path, part| {
        let status = match part.status {
            TestStatus::Passed => "passed",
            TestStatus::Failed | TestStatus::Xpassed => "failed",
            TestStatus::Skipped => "skipped",
            TestStatus::Xfailed => "xfailed",
        };
        let shown = Fields::default().text("path", path).text("status", status);
        subtests.push(shown.maybe("reason", part.message.as_deref()).map());
    });
    match subtests.is_empty() {
        true => fields,
        false => fields.value("subtests", MetaValue::Array(subtests)),
    }
}

/// The end of a test that nobody told of.
pub(super) fn cut_off(path: &str, name: &str, of: &Meta, why: &str) -> Fields {
    let fields = test(path, name, of)
        .text("reason", why)
        .text("console_excerpt", "");
    let fields = fields.value("line", MetaValue::Nil).number("attempts", 1);
    fields.number("duration_ns", 0)
}

pub(super) fn run_ended(summary: &Summary) -> Fields {
    let counts = [
        ("files", summary.files),
        ("passed", summary.passed),
        ("failed", summary.failed),
        ("skipped", summary.skipped),
        ("xfailed", summary.xfailed),
        ("xpassed", summary.xpassed),
        ("not_run", summary.not_run),
        ("flaky", summary.flaky),
        ("subtests", summary.subtests.all),
        ("subtests_failed", summary.subtests.failed),
    ];
    let number = |fields: Fields, (key, count): (&str, usize)| {
        fields.number(key, i64::try_from(count).unwrap_or(i64::MAX))
    };
    let counts = counts.into_iter().fold(Fields::default(), number);
    Fields::default()
        .value("counts", counts.map())
        .number(
            "duration_ns",
            i64::try_from(summary.elapsed.as_nanos()).unwrap_or(i64::MAX),
        )
        .number("exit_code", summary.exit_code())
}

pub(super) fn vm_began(event: &VmEvent) -> Fields {
    let fields = Fields::default()
        .text("file", &event.path)
        .text("vm_name", &event.vm);
    match &event.what {
        VmChange::Began {
            profile,
            memory,
            cid,
            how,
        } => fields
            .text("profile", profile)
            .number("memory_bytes", *memory)
            .number("cid", *cid)
            .text(
                "how",
                match how {
                    VmStart::Boot => "boot",
                    VmStart::Resume => "resume",
                    VmStart::Reset => "reset",
                },
            ),
        VmChange::Ended { .. } => fields,
    }
}

pub(super) fn vm_ended(path: &str, vm: &str, began: Instant) -> Fields {
    let fields = Fields::default().text("file", path).text("vm_name", vm);
    fields.number("duration_ns", since(began))
}

/// The frame for something that happened to a fixture, if it has one.
pub(super) fn fixture(event: &FixtureEvent) -> Option<(&'static str, Fields)> {
    let of = |fixture: &str| Fields::default().text("path", fixture);
    Some(match event {
        FixtureEvent::CacheHit { fixture, .. } => ("fixture_cache_hit", of(fixture)),
        FixtureEvent::BuildStarted { fixture } => ("fixture_build_started", of(fixture)),
        FixtureEvent::BuildDone {
            fixture,
            took,
            bytes,
            failure,
        } => {
            let took = i64::try_from(took.as_nanos()).unwrap_or(i64::MAX);
            let done = of(fixture).number("duration_ns", took);
            let done = match failure {
                Some(error) => done.text("error", error),
                None => done.number("snapshot_bytes", *bytes),
            };
            ("fixture_build_done", done)
        }
        FixtureEvent::Waiting { fixture, builder } => {
            let held_by = builder.as_ref().map(ToString::to_string);
            (
                "fixture_build_waiting",
                of(fixture).text("held_by", held_by.as_deref().unwrap_or("another process")),
            )
        }
        FixtureEvent::Evicted {
            fixture, entry, why, ..
        } => {
            let evicted = of(fixture.as_deref().unwrap_or_default()).text("entry", entry);
            ("fixture_evicted", evicted.text("reason", why))
        }
        FixtureEvent::Damaged { .. } => return None,
    })
}
