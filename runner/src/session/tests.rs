//! A session with a runner made of closures.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc;
use std::thread;

use parking_lot::Mutex;
use provium_base::events::{Event, Recorder};
use provium_base::meta::Meta;
use provium_base::outcome::{TestStatus, Timeliness};
use provium_guest::WarmPool;

use super::pool::Limits;
use super::select::NameFilter;
use super::*;
use crate::config::Environment;
use crate::samples;

fn files(names: &[&str]) -> Vec<TestFile> {
    let file = |name: &&str| TestFile {
        path: format!("/p/{name}").into(),
        shown: (*name).to_owned(),
    };
    names.iter().map(file).collect()
}

/// A session that runs files with `runner`, and who hears of it.
fn session(
    runner: impl Fn(&FileJob, &Arc<dyn Sink>) -> FileResult + Send + Sync + 'static,
) -> (Session, Recorder) {
    let heard = Recorder::default();
    let config = Arc::new(Config::without_file("/p".as_ref(), &Environment::default()));
    let sink = Arc::new(heard.clone());
    let fixtures = Fixtures::new(
        config.clone(),
        WarmPool::new(0),
        sink.clone(),
        Box::new(|_, _, source, _, _| Err(format!("{} is not built here", source.name))),
    );
    let pool = Pool::of_host(&Limits::default());
    (
        Session::new(config, fixtures, pool, sink, Arc::new(runner)),
        heard,
    )
}

fn options() -> RunOptions {
    RunOptions {
        jobs: 2,
        ..RunOptions::default()
    }
}

fn passed(job: &FileJob) -> FileResult {
    FileResult {
        tests: Vec::new(),
        ..samples::passing(&job.shown)
    }
}

fn test_ended(sink: &Arc<dyn Sink>, path: &str, name: &str, status: TestStatus) {
    sink.emit(Event::TestEnded {
        path: path.to_owned(),
        result: samples::test(name, status, None),
    });
}

/// The events, a line each.
fn lines(heard: &Recorder) -> Vec<String> {
    let line = |event| match event {
        Event::RunStarted { files } => format!("run {files}"),
        Event::FileStarted { path } => format!("start {path}"),
        Event::TestStarted { path, test, .. } => format!("test {path} {test}"),
        Event::TestEnded { path, result } => format!("tested {path} {}", result.name),
        Event::FileEnded(end) => format!("end {}", end.result.path),
        Event::RunStopping { reason } => format!("stopping: {reason}"),
        Event::RunEnded(summary) => format!("ended {} {}", summary.passed, summary.failed),
        other => format!("{other:?}"),
    };
    heard.take().into_iter().map(line).collect()
}

/// What a run came to.
struct Ran {
    outcome: Outcome,
    summary: Summary,
    events: Vec<String>,
}

impl Ran {
    fn end(&self, path: &str) -> &FileEnd {
        let mut files = self.outcome.files.iter();
        files.find(|end| end.result.path == path).expect(path)
    }
}

/// Runs the files in a session of their own.
fn run_with(
    names: &[&str],
    options: RunOptions,
    cancel: &Arc<Cancel>,
    runner: impl Fn(&FileJob, &Arc<dyn Sink>) -> FileResult + Send + Sync + 'static,
) -> Ran {
    let (mut session, heard) = session(runner);
    let outcome = session.run(files(names), options, cancel);
    ran(outcome.expect("the harness works"), &heard)
}

fn ran(outcome: Outcome, heard: &Recorder) -> Ran {
    Ran {
        summary: outcome.summary,
        events: lines(heard),
        outcome,
    }
}

#[test]
fn every_file_runs_once_on_at_most_so_many_threads() {
    let (running, most, total) = (
        AtomicU32::new(0),
        Arc::new(AtomicU32::new(0)),
        Arc::new(AtomicU32::new(0)),
    );
    let (seen, count) = (most.clone(), total.clone());
    let names: Vec<_> = (0..12).map(|index| format!("{index:02}.test.lua")).collect();
    let names: Vec<_> = names.iter().map(String::as_str).collect();
    let ran = run_with(
        &names,
        RunOptions { jobs: 3, ..options() },
        &Cancel::new(),
        move |job, _| {
            seen.fetch_max(running.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            count.fetch_add(1, Ordering::SeqCst);
            thread::sleep(Duration::from_millis(20));
            running.fetch_sub(1, Ordering::SeqCst);
            passed(job)
        },
    );
    assert_eq!(total.load(Ordering::SeqCst), 12);
    assert!((2..=3).contains(&most.load(Ordering::SeqCst)), "{most:?}");
    assert_eq!((ran.summary.files, ran.outcome.exit_code()), (12, 0));
    assert_eq!(
        (ran.events[0].as_str(), ran.events.last().map(String::as_str)),
        ("run 12", Some("ended 0 0"))
    );
    let mut ended: Vec<_> = ran
        .outcome
        .files
        .iter()
        .map(|end| end.result.path.as_str())
        .collect();
    ended.sort_unstable();
    assert_eq!(ended, names);
    assert!(
        ran.outcome
            .files
            .iter()
            .all(|end| end.result.duration_ns >= 20_000_000)
    );
}

#[test]
fn a_panic_is_the_files_failure_and_keeps_its_ended_tests() {
    let ran = run_with(&["a", "b"], options(), &Cancel::new(), |job, sink| {
        if job.shown == "a" {
            test_ended(sink, "a", "first", TestStatus::Passed);
            panic!("a {} of it", "bug");
        }
        passed(job)
    });
    let end = ran.end("a");
    assert_eq!(
        end.result.chunk_error.as_deref(),
        Some("the file's thread panicked: a bug of it")
    );
    assert_eq!(end.result.tests.len(), 1);
    assert_eq!(
        (ran.summary.passed, ran.summary.failed, ran.outcome.exit_code()),
        (1, 1, 1)
    );
}

#[test]
fn a_file_past_its_time_is_cancelled_and_says_so() {
    let options = RunOptions {
        timeout: Some(Duration::from_millis(30)),
        ..options()
    };
    let ran = run_with(&["a", "b"], options, &Cancel::new(), |job, _| {
        if job.shown == "a" {
            assert_eq!(
                job.cancel.sleep(Duration::from_secs(60)),
                Some(CancelReason::FileTimeout)
            );
            return samples::timed_out("a");
        }
        passed(job)
    });
    assert_eq!(ran.end("a").result.timeout, Timeliness::TimedOut);
    assert_eq!(ran.end("b").result.timeout, Timeliness::InTime);
    assert_eq!(
        (ran.summary.failed, ran.summary.stopped, ran.outcome.exit_code()),
        (1, None, 1)
    );
}

#[test]
fn a_file_that_does_not_obey_is_given_up() {
    // The file's thread has to get as far as its first test by then, on a busy machine too.
    let limit = Duration::from_millis(500);
    let options = RunOptions {
        timeout: Some(limit),
        ..options()
    };
    let (release, held) = mpsc::channel::<()>();
    let held = Mutex::new(held);
    let (mut session, heard) = session(move |job, sink| {
        test_ended(sink, "a", "first", TestStatus::Passed);
        let _ = held.lock().recv_timeout(Duration::from_secs(60));
        test_ended(sink, "a", "late", TestStatus::Passed);
        passed(job)
    });
    session.grace = limit;
    let outcome = session.run(files(&["a"]), options, &Cancel::new());
    let ran = ran(outcome.expect("the harness works"), &heard);
    drop(release);
    let result = &ran.end("a").result;
    assert_eq!(result.timeout, Timeliness::TimedOut);
    let message = "the file's time limit has passed, and the file did not end within 0 s of being told";
    assert_eq!(result.chunk_error.as_deref(), Some(message));
    assert_eq!(
        result
            .tests
            .iter()
            .map(|test| test.name.as_str())
            .collect::<Vec<_>>(),
        ["first"]
    );
}

#[test]
fn a_file_that_is_given_up_names_the_test_and_its_line_and_what_is_behind_it() {
    let limit = Duration::from_millis(500);
    let options = RunOptions {
        timeout: Some(limit),
        ..options()
    };
    let (release, held) = mpsc::channel::<()>();
    let held = Mutex::new(held);
    let (mut session, heard) = session(move |job, sink| {
        for name in ["first", "hangs", "behind it"] {
            job.found(name, &select::Labels::new(), None);
        }
        test_ended(sink, "a", "first", TestStatus::Passed);
        sink.emit(Event::TestStarted {
            path: "a".to_owned(),
            test: "hangs".to_owned(),
            meta: Meta::new(),
        });
        job.progress.at_line(12);
        let _ = held.lock().recv_timeout(Duration::from_secs(60));
        passed(job)
    });
    session.grace = limit;
    let outcome = session.run(files(&["a"]), options, &Cancel::new());
    let ran = ran(outcome.expect("the harness works"), &heard);
    drop(release);
    let result = &ran.end("a").result;
    let told = "the file's time limit has passed, and the file did not end within 0 s of being told";
    let error = format!("{told}; it was in test `hangs`, last seen at a:12");
    assert_eq!(result.chunk_error, Some(error));
    let hangs = &result.tests[1];
    assert_eq!((hangs.status, hangs.line), (TestStatus::Failed, Some(12)));
    assert_eq!(hangs.message, Some(format!("{told}; last seen at a:12")));
    assert_eq!(result.not_run, ["behind it"]);
    assert_eq!(
        (ran.summary.passed, ran.summary.failed, ran.summary.not_run),
        (1, 1, 1)
    );
    // The test that began has its end.
    assert_eq!(
        ran.events[2..5],
        ["tested a first", "test a hangs", "tested a hangs"]
    );
}

#[test]
fn tests_that_never_began_are_named_however_the_file_ended() {
    let file = |job: &FileJob, sink: &Arc<dyn Sink>| {
        let none = select::Labels::new();
        for name in ["first", "second", "third"] {
            job.found(name, &none, None);
        }
        test_ended(sink, &job.shown, "first", TestStatus::Passed);
        let first = samples::test("first", TestStatus::Passed, None);
        FileResult {
            passed: job.shown == "through",
            chunk_error: (job.shown == "broken").then(|| "broken: x".to_owned()),
            tests: vec![first],
            ..passed(job)
        }
    };
    let filter = NameFilter {
        expression: Some("not third".parse().expect("an expression")),
        ..NameFilter::default()
    };
    let options = RunOptions {
        selection: filter.into(),
        ..options()
    };
    let ran = run_with(&["broken"], options, &Cancel::new(), file);
    assert_eq!(
        ran.end("broken").result.not_run,
        ["second"],
        "third is not wanted"
    );
    let options = || RunOptions {
        timeout: Some(Duration::from_millis(20)),
        ..RunOptions::default()
    };
    let ran = run_with(&["slow"], options(), &Cancel::new(), move |job, sink| {
        job.cancel.sleep(Duration::from_secs(60));
        file(job, sink)
    });
    assert_eq!(ran.end("slow").result.not_run, ["second", "third"]);
    assert_eq!((ran.summary.passed, ran.summary.not_run), (1, 2));
}

#[test]
fn a_file_without_a_test_fails_the_run_unless_it_may_be_empty() {
    let empty = |job: &FileJob, _: &Arc<dyn Sink>| match job.shown.as_str() {
        "a" => FileResult {
            no_tests: true,
            ..passed(job)
        },
        _ => samples::passing(&job.shown),
    };
    let ran = run_with(&["a", "b"], options(), &Cancel::new(), empty);
    assert!(!ran.end("a").result.passed && ran.end("a").failed());
    assert_eq!((ran.summary.failed, ran.outcome.exit_code()), (1, exit::FAILED));
    let allowed = || RunOptions {
        allow_empty: true,
        ..options()
    };
    let ran = run_with(&["a", "b"], allowed(), &Cancel::new(), empty);
    assert_eq!((ran.summary.failed, ran.outcome.exit_code()), (0, exit::SUCCESS));
    // A run of nothing else ran no test at all.
    let ran = run_with(&["a"], options(), &Cancel::new(), empty);
    let why = "no test ran: there is none in 1 file(s)".to_owned();
    assert_eq!(ran.outcome.ending, Ending::NothingRan { why });
    assert_eq!(ran.outcome.exit_code(), exit::HARNESS);
    let ran = run_with(&["a"], allowed(), &Cancel::new(), empty);
    assert_eq!(ran.outcome.exit_code(), exit::SUCCESS);
}

#[test]
fn known_failures_that_match_nothing_are_warned_of() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let list = dir.path().join("known.txt");
    std::fs::write(&list, "a::frist\na::first\nb::anything\n").expect("a file");
    let known = || {
        // The session's files are below `/p`, where none is.
        let known = KnownFailures::read(&list, "known.txt", "/p".as_ref()).expect("it is right");
        known.take_unmatched();
        Arc::new(known)
    };
    let options = RunOptions {
        known: known(),
        ..options()
    };
    let ran = run_with(&["a"], options, &Cancel::new(), |job, _| {
        assert!(job.expectation("first").is_some() && job.expectation("second").is_none());
        job.found("first", &select::Labels::new(), None);
        passed(job)
    });
    let warning = "Warning { message: \"known.txt:1: a has no test `frist`; did you mean `first`?\" }";
    let warnings: Vec<_> = ran
        .events
        .iter()
        .filter(|line| line.starts_with("Warning"))
        .collect();
    assert_eq!(warnings, [warning]);
}

#[test]
fn an_interrupt_stops_the_run_and_is_no_verdict() {
    let cancel = Cancel::new();
    let other = cancel.clone();
    let ran = run_with(
        &["a", "b", "c"],
        RunOptions::default(),
        &cancel,
        move |job, sink| {
            if job.shown != "b" {
                return passed(job);
            }
            test_ended(sink, "b", "done", TestStatus::Passed);
            other.cancel(CancelReason::Interrupted);
            let cut = samples::test("cut", TestStatus::Failed, Some("interrupted"));
            test_ended(sink, "b", "cut", TestStatus::Failed);
            FileResult {
                passed: false,
                tests: vec![samples::test("done", TestStatus::Passed, None), cut],
                ..passed(job)
            }
        },
    );
    let end = ran.end("b");
    assert!(end.stopped);
    assert_eq!(end.result.tests[1].status, TestStatus::Skipped);
    let Summary {
        files,
        passed,
        failed,
        skipped,
        unfinished,
        stopped,
        ..
    } = ran.summary;
    assert_eq!((files, passed, failed, skipped, unfinished), (2, 1, 0, 1, 2));
    assert_eq!(
        (stopped, ran.outcome.exit_code()),
        (Some(CancelReason::Interrupted), 130)
    );
    assert_eq!(ran.outcome.ending, Ending::Stopped(CancelReason::Interrupted));
    assert_eq!(
        ran.events,
        [
            "run 3",
            "start a",
            "end a",
            "start b",
            "tested b done",
            "stopping: interrupted",
            "tested b cut",
            "end b",
            "ended 1 0",
        ]
    );
}

#[test]
fn fail_fast_ends_the_run_at_the_first_failed_test() {
    let options = RunOptions {
        max_failures: Some(1),
        ..RunOptions::default()
    };
    let ran = run_with(&["a", "b", "c"], options, &Cancel::new(), |job, sink| {
        if job.shown == "a" {
            return passed(job);
        }
        let failed = samples::test("bad", TestStatus::Failed, Some("no"));
        test_ended(sink, "b", "bad", TestStatus::Failed);
        assert_eq!(job.cancel.is_cancelled(), Some(CancelReason::FailFast));
        FileResult {
            passed: false,
            tests: vec![failed],
            ..passed(job)
        }
    });
    assert!(!ran.end("b").stopped);
    assert_eq!(
        (ran.summary.files, ran.summary.failed, ran.summary.unfinished),
        (2, 1, 1)
    );
    assert_eq!(
        (ran.summary.stopped, ran.outcome.exit_code()),
        (Some(CancelReason::FailFast), 1)
    );
}

#[test]
fn a_file_that_cannot_load_ends_a_fail_fast_run_too() {
    let options = RunOptions {
        max_failures: Some(1),
        ..RunOptions::default()
    };
    let ran = run_with(&["a", "b"], options, &Cancel::new(), |job, _| {
        samples::broken(&job.shown)
    });
    assert_eq!(
        (ran.summary.files, ran.summary.failed, ran.summary.unfinished),
        (1, 1, 1)
    );
}

#[test]
fn a_journal_lets_a_run_go_on_where_it_was() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let path = dir.path().join("journal");
    let (first, _) = Journal::open(&path).expect("a journal");
    first.ended(&samples::failing("a")).expect("append");
    first.shown("a").expect("append");
    first.ended(&samples::passing("b")).expect("append");
    drop(first);

    let resumed = RunOptions {
        journal: Some(Journal::open(&path).expect("the journal")),
        ..RunOptions::default()
    };
    let ran = run_with(&["a", "b", "c"], resumed, &Cancel::new(), |job, _| {
        assert_eq!(job.shown, "c");
        passed(job)
    });
    let shown: Vec<_> = ran
        .outcome
        .files
        .iter()
        .map(|end| (end.result.path.as_str(), end.shown_before))
        .collect();
    assert_eq!(shown, [("a", true), ("b", false), ("c", false)]);
    assert_eq!(ran.events[0], "run 3");
    assert_eq!(
        (
            ran.summary.files,
            ran.summary.passed,
            ran.summary.failed,
            ran.summary.skipped
        ),
        (3, 2, 1, 1)
    );
    assert_eq!(ran.outcome.exit_code(), 1);

    let (_, all) = Journal::open(&path).expect("the journal");
    assert!(all.len() == 3 && all.iter().all(|entry| entry.shown), "{all:?}");
}

#[test]
fn files_without_wanted_tests_do_not_count() {
    let filter = || NameFilter {
        substring: Some("x".into()),
        ..NameFilter::default()
    };
    let (mut session, _) = session(|job, _| match job.shown.as_str() {
        "b" => samples::broken("b"),
        _ => passed(job),
    });
    let mut run = |names: &[&str], filter: NameFilter| {
        let options = RunOptions {
            selection: filter.into(),
            ..options()
        };
        let outcome = session.run(files(names), options, &Cancel::new());
        outcome.expect("the harness works")
    };
    let one = run(&["a", "b"], filter());
    let selected = |path: &str| {
        one.files
            .iter()
            .any(|end| end.result.path == path && end.selected)
    };
    assert!(!selected("a") && selected("b"));
    assert_eq!((one.summary.files, one.summary.failed), (1, 1));
    assert_eq!((one.exit_code(), one.ending), (exit::FAILED, Ending::Completed));
    let none = run(&["a", "c"], filter());
    let why = "no test ran: there is none in 2 file(s)".to_owned();
    assert_eq!(none.ending, Ending::NothingRan { why });
    assert_eq!(none.exit_code(), exit::HARNESS);
    let all = run(&["a", "c"], NameFilter::default());
    assert_eq!((all.exit_code(), all.ending), (exit::SUCCESS, Ending::Completed));
}

#[test]
fn a_session_runs_again_and_each_run_starts_from_nothing() {
    let times = Arc::new(AtomicU32::new(0));
    let count = Arc::clone(&times);
    let (mut session, heard) = session(move |job, sink| {
        test_ended(sink, &job.shown, "first", TestStatus::Passed);
        match count.fetch_add(1, Ordering::SeqCst) {
            0 => samples::failing(&job.shown),
            _ => samples::passing(&job.shown),
        }
    });
    let mut run = || {
        let outcome = session.run(files(&["a"]), options(), &Cancel::new());
        (outcome.expect("the harness works"), lines(&heard))
    };
    let (first, said) = run();
    assert_eq!((first.summary.failed, first.exit_code()), (1, exit::FAILED));
    assert_eq!(said, ["run 1", "start a", "tested a first", "end a", "ended 1 1"]);
    let (second, said) = run();
    assert_eq!((second.summary.failed, second.exit_code()), (0, exit::SUCCESS));
    assert_eq!(said, ["run 1", "start a", "tested a first", "end a", "ended 1 0"]);
    assert_eq!((second.files.len(), second.summary.files), (1, 1));
    let cancelled = Cancel::new();
    cancelled.cancel(CancelReason::Interrupted);
    let outcome = session.run(files(&["a", "b"]), options(), &cancelled);
    let outcome = outcome.expect("the harness works");
    assert_eq!(outcome.ending, Ending::Stopped(CancelReason::Interrupted));
    assert_eq!((outcome.files.len(), outcome.summary.unfinished), (0, 2));
    assert_eq!(outcome.exit_code(), exit::INTERRUPTED);
    assert_eq!(lines(&heard), ["run 2", "stopping: interrupted", "ended 0 0"]);
    assert_eq!(times.load(Ordering::SeqCst), 2);
}

#[test]
fn a_session_runs_one_test_of_one_file() {
    let (mut session, heard) = session(|job, sink| {
        let names = ["boots", "boots twice", "is slow"];
        let none = select::Labels::new();
        let wanted = names
            .into_iter()
            .filter(|name| job.selection.filter.wants(&job.shown, name, &none));
        for name in names {
            job.found(name, &none, None);
        }
        let tests = wanted.map(|name| {
            test_ended(sink, &job.shown, name, TestStatus::Passed);
            samples::test(name, TestStatus::Passed, None)
        });
        FileResult {
            tests: tests.collect(),
            ..passed(job)
        }
    });
    let mut run = |test: &str| {
        let file = files(&["a"]).remove(0);
        let outcome = session.run_test(file, test, options(), &Cancel::new());
        outcome.expect("the harness works")
    };
    let one = run("boots");
    assert_eq!((one.summary.passed, one.exit_code()), (1, exit::SUCCESS));
    assert_eq!(one.files[0].result.tests[0].name, "boots");
    assert_eq!(
        lines(&heard),
        ["run 1", "start a", "tested a boots", "end a", "ended 1 0"]
    );
    let why = "no test ran: none of the 3 test(s) in 1 file(s) is selected by the name `boot`; did you mean `boots`?";
    assert_eq!(run("boot").ending, Ending::NothingRan { why: why.to_owned() });
    assert_eq!(run("boots twice").summary.passed, 1);
}
