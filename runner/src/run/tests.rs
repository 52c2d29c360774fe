//! The scheduler with a runner made of closures.

use std::sync::atomic::AtomicU32;

use super::*;
use crate::config::Environment;
use crate::guest::Ready;
use crate::report::samples;
use crate::run::pool::Limits;

/// Remembers what it hears of.
#[derive(Default)]
struct Recorder(Mutex<Vec<String>>, Mutex<Vec<FileEnd>>);

impl Reporter for Recorder {
    fn event(&self, event: Event<'_>) {
        let line = match event {
            Event::RunStarted { files } => format!("run {files}"),
            Event::FileStarted { path } => format!("start {path}"),
            Event::TestStarted { path, test } => format!("test {path} {test}"),
            Event::TestEnded { path, result } => format!("tested {path} {}", result.name),
            Event::FileEnded(end) => {
                lock(&self.1).push(end.clone());
                format!("end {}", end.result.path)
            }
            Event::RunEnded(_) => "ended".to_owned(),
        };
        lock(&self.0).push(line);
    }
}

fn plan(files: &[&str]) -> Plan {
    let file = |name: &&str| TestFile {
        path: format!("/p/{name}").into(),
        shown: (*name).to_owned(),
    };
    let config = Arc::new(Config::without_file("/p".as_ref(), &Environment::default()));
    Plan {
        files: files.iter().map(file).collect(),
        jobs: 2,
        timeout: None,
        fail_fast: false,
        filter: NameFilter::default(),
        fixtures: Fixtures::new(config.clone(), Ready::new(0), Box::new(|_| {})),
        config,
        pool: Pool::of_host(&Limits::default()),
        grace: Duration::from_secs(30),
        journal: None,
    }
}

fn passed(job: &FileJob) -> FileResult {
    FileResult {
        tests: Vec::new(),
        ..samples::passing(&job.shown)
    }
}

struct Ran {
    summary: Summary,
    events: Vec<String>,
    ends: Vec<FileEnd>,
}

impl Ran {
    fn end(&self, path: &str) -> &FileEnd {
        self.ends.iter().find(|end| end.result.path == path).expect(path)
    }
}

fn run_with(
    plan: Plan,
    cancel: &Arc<Cancel>,
    runner: impl Fn(&FileJob, &Arc<dyn Progress>) -> FileResult + Send + Sync + 'static,
) -> Ran {
    let recorder = Arc::new(Recorder::default());
    let summary = run(plan, Arc::new(runner), recorder.clone(), cancel).expect("the harness works");
    let (events, ends) = (lock(&recorder.0).clone(), lock(&recorder.1).clone());
    Ran {
        summary,
        events,
        ends,
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
        Plan {
            jobs: 3,
            ..plan(&names)
        },
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
    assert_eq!((ran.summary.files, ran.summary.exit_code()), (12, 0));
    assert_eq!(
        (ran.events[0].as_str(), ran.events.last().map(String::as_str)),
        ("run 12", Some("ended"))
    );
    let mut ended: Vec<_> = ran.ends.iter().map(|end| end.result.path.as_str()).collect();
    ended.sort_unstable();
    assert_eq!(ended, names);
    assert!(ran.ends.iter().all(|end| end.result.duration_ns >= 20_000_000));
}

#[test]
fn a_panic_is_the_files_failure_and_keeps_its_ended_tests() {
    let ran = run_with(plan(&["a", "b"]), &Cancel::new(), |job, progress| {
        if job.shown == "a" {
            progress.test_ended("a", &samples::test("first", TestStatus::Passed, None));
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
        (ran.summary.passed, ran.summary.failed, ran.summary.exit_code()),
        (1, 1, 1)
    );
}

#[test]
fn a_file_past_its_time_is_cancelled_and_says_so() {
    let plan = Plan {
        timeout: Some(Duration::from_millis(30)),
        ..plan(&["a", "b"])
    };
    let ran = run_with(plan, &Cancel::new(), |job, _| {
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
        (ran.summary.failed, ran.summary.stopped, ran.summary.exit_code()),
        (1, None, 1)
    );
}

#[test]
fn a_file_that_does_not_obey_is_given_up() {
    let limit = Duration::from_millis(20);
    let plan = Plan {
        timeout: Some(limit),
        grace: limit,
        ..plan(&["a"])
    };
    let (release, held) = mpsc::channel::<()>();
    let held = Mutex::new(held);
    let ran = run_with(plan, &Cancel::new(), move |job, progress| {
        progress.test_ended("a", &samples::test("first", TestStatus::Passed, None));
        let _ = lock(&held).recv_timeout(Duration::from_secs(60));
        progress.test_ended("a", &samples::test("late", TestStatus::Passed, None));
        passed(job)
    });
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
fn an_interrupt_stops_the_run_and_is_no_verdict() {
    let cancel = Cancel::new();
    let other = cancel.clone();
    let ran = run_with(
        Plan {
            jobs: 1,
            ..plan(&["a", "b", "c"])
        },
        &cancel,
        move |job, progress| {
            if job.shown != "b" {
                return passed(job);
            }
            progress.test_ended("b", &samples::test("done", TestStatus::Passed, None));
            other.cancel(CancelReason::Interrupted);
            let cut = samples::test("cut", TestStatus::Failed, Some("interrupted"));
            progress.test_ended("b", &cut);
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
        (stopped, ran.summary.exit_code()),
        (Some(CancelReason::Interrupted), 130)
    );
    assert!(!ran.events.contains(&"start c".to_owned()));
}

#[test]
fn fail_fast_ends_the_run_at_the_first_failed_test() {
    let plan = Plan {
        jobs: 1,
        fail_fast: true,
        ..plan(&["a", "b", "c"])
    };
    let ran = run_with(plan, &Cancel::new(), |job, progress| {
        if job.shown == "a" {
            return passed(job);
        }
        let failed = samples::test("bad", TestStatus::Failed, Some("no"));
        progress.test_ended("b", &failed);
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
        (ran.summary.stopped, ran.summary.exit_code()),
        (Some(CancelReason::FailFast), 1)
    );
}

#[test]
fn a_file_that_cannot_load_ends_a_fail_fast_run_too() {
    let plan = Plan {
        jobs: 1,
        fail_fast: true,
        ..plan(&["a", "b"])
    };
    let ran = run_with(plan, &Cancel::new(), |job, _| samples::broken(&job.shown));
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

    let resumed = Plan {
        jobs: 1,
        journal: Some(Journal::open(&path).expect("the journal")),
        ..plan(&["a", "b", "c"])
    };
    let ran = run_with(resumed, &Cancel::new(), |job, _| {
        assert_eq!(job.shown, "c");
        passed(job)
    });
    let shown: Vec<_> = ran
        .ends
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
    assert_eq!(ran.summary.exit_code(), 1);

    let (_, all) = Journal::open(&path).expect("the journal");
    assert!(all.len() == 3 && all.iter().all(|entry| entry.shown), "{all:?}");
}

#[test]
fn files_without_wanted_tests_do_not_count() {
    let filter = NameFilter {
        substring: Some("x".into()),
        expression: None,
        ..NameFilter::default()
    };
    let ran = run_with(
        Plan {
            filter,
            ..plan(&["a", "b"])
        },
        &Cancel::new(),
        |job, _| match job.shown.as_str() {
            "a" => passed(job),
            _ => samples::broken("b"),
        },
    );
    assert!(!ran.end("a").selected && ran.end("b").selected);
    assert_eq!((ran.summary.files, ran.summary.failed), (1, 1));
}
