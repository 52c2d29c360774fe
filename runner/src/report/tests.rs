//! What each reporter makes of the same run.
//!
//! Input: results. Output: what is written. Not here: how single failures look, which `ten` has.

mod ten;

use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use insta::assert_snapshot;
use parking_lot::Mutex;
use provium_base::cancel::CancelReason;
use provium_base::events::{Event, FixtureEvent, HostEvent, ProfileEvent, Sink};
use provium_base::outcome::{FileEnd, FileResult, Summary};

use super::*;
use crate::samples;

/// A stream whose content the test keeps.
#[derive(Clone, Default)]
struct Memory(Arc<Mutex<Vec<u8>>>);

impl Write for Memory {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn end(result: FileResult) -> FileEnd {
    FileEnd {
        result,
        stopped: false,
        shown_before: false,
        selected: true,
    }
}

fn run_of(ends: &[FileEnd], stopped: Option<CancelReason>, reporter: &dyn Sink) {
    let mut summary = Summary {
        stopped,
        elapsed: Duration::from_millis(4260),
        ..Summary::default()
    };
    reporter.emit(Event::RunStarted { files: ends.len() });
    for end in ends {
        reporter.emit(Event::FileStarted {
            path: end.result.path.clone(),
        });
        reporter.emit(Event::FileEnded(end.clone()));
        summary.add(end);
    }
    reporter.emit(Event::RunEnded(summary));
}

/// What `make`'s reporter writes about a run of these files.
fn written<R: Sink>(ends: &[FileEnd], make: impl Fn(Arc<Output>) -> R) -> String {
    let memory = Memory::default();
    let output = Arc::new(Output::new(Box::new(memory.clone()), None));
    let stopped = ends
        .iter()
        .any(|end| end.stopped)
        .then_some(CancelReason::Interrupted);
    run_of(ends, stopped, &make(output));
    let bytes = memory.0.lock().clone();
    String::from_utf8(bytes).expect("UTF-8")
}

fn plain(ends: &[FileEnd], verbosity: Verbosity, color: bool) -> String {
    written(ends, |output| PlainReporter::new(output, Paint(color), verbosity))
}

fn everything() -> Vec<FileEnd> {
    use crate::samples::*;
    let results = [
        passing("a.test.lua"),
        failing("b.test.lua"),
        flaky("c.test.lua"),
        broken("d.test.lua"),
        timed_out("e.test.lua"),
        expected("f.test.lua"),
        without_tests("g.test.lua"),
    ];
    results.into_iter().map(end).collect()
}

#[test]
fn plain_normal() {
    assert_snapshot!(plain(&everything(), Verbosity::Normal, false), @r"
    PASS a.test.lua (1 passed, 0 failed, 1 skipped)
    FAIL b.test.lua (1 passed, 1 failed, 0 skipped)
      FAIL adds, up (b.test.lua:12) 12 ms
        assert_eq failed
          left:  1
          right: 100%
        | before
        | console of web:
        | [    0.1] red
        | bell
    PASS c.test.lua (1 passed, 0 failed, 0 skipped, 1 flaky)
      pass sometimes 12 ms
        flaky: passed at attempt 2
    FAIL d.test.lua (0 passed, 1 failed, 0 skipped)
      d.test.lua:7: unexpected symbol near '<eof>'
    TIME e.test.lua (0 passed, 1 failed, 0 skipped, 2 not run)
      FAIL hangs (e.test.lua:3) 12 ms
        the file's time limit of 5s has passed, waiting in vm:run
      not run: behind it, and the last
    FAIL f.test.lua (0 passed, 0 failed, 0 skipped, 1 xfailed, 1 xpassed)
      XPASS mended (f.test.lua:3) 12 ms
        passed, but `xfail` at a.test.lua:3 expects it to fail (bug 8): take the mark away
    NONE g.test.lua (0 passed, 1 failed, 0 skipped)
      it has no test: no `test(…)`, no assertion, no `todo()`; --allow-empty lets it pass
    failed:
      b.test.lua:12 adds, up: assert_eq failed
      d.test.lua:7 unexpected symbol near '<eof>'
      e.test.lua:3 hangs: the file's time limit of 5s has passed, waiting in vm:run
      f.test.lua:3 mended: passed, but `xfail` at a.test.lua:3 expects it to fail …
      g.test.lua it has no test
    7 file(s); 3 passed, 4 failed, 1 skipped, 1 xfailed, 1 xpassed, 2 not run, 1 flaky; 4.3 s
    ");
}

#[test]
fn plain_verbose() {
    let ends = [
        end(samples::passing("a.test.lua")),
        end(samples::failing("b.test.lua")),
    ];
    assert_snapshot!(plain(&ends, Verbosity::Verbose, false), @r"
    PASS a.test.lua (1 passed, 0 failed, 1 skipped)
      pass boots 12 ms
        | uname says 6.12
      skip needs a disk: no disk here
    FAIL b.test.lua (1 passed, 1 failed, 0 skipped)
      pass fine 12 ms
      FAIL adds, up (b.test.lua:12) 12 ms
        assert_eq failed
          left:  1
          right: 100%
        | before
        | console of web:
        | [    0.1] red
        | bell
    failed:
      b.test.lua:12 adds, up: assert_eq failed
    2 file(s); 2 passed, 1 failed, 1 skipped; 4.3 s
    ");
}

#[test]
fn plain_quiet() {
    let ends = [
        end(samples::passing("a.test.lua")),
        end(samples::timed_out("e.test.lua")),
    ];
    assert_snapshot!(plain(&ends, Verbosity::Quiet, false), @r"
    TIME e.test.lua (0 passed, 1 failed, 0 skipped, 2 not run)
      FAIL hangs (e.test.lua:3) 12 ms
        the file's time limit of 5s has passed, waiting in vm:run
      not run: behind it, and the last
    failed:
      e.test.lua:3 hangs: the file's time limit of 5s has passed, waiting in vm:run
    2 file(s); 1 passed, 1 failed, 1 skipped, 2 not run; 4.3 s
    ");
}

#[test]
fn plain_interrupted() {
    let ends = [
        end(samples::passing("a.test.lua")),
        FileEnd {
            stopped: true,
            ..end(samples::stopped("b.test.lua"))
        },
    ];
    assert_snapshot!(plain(&ends, Verbosity::Normal, false), @r"
    PASS a.test.lua (1 passed, 0 failed, 1 skipped)
    STOP b.test.lua (1 passed, 0 failed, 1 skipped)
      skip cut: interrupted
    interrupted: 1 file(s) not run to the end
    2 file(s); 2 passed, 0 failed, 2 skipped; 4.3 s
    ");
}

#[test]
fn colours_only_when_asked_for() {
    let ends = [end(samples::passing("a.test.lua"))];
    let colored = plain(&ends, Verbosity::Normal, true);
    assert!(
        colored.starts_with("\u{1b}[1m\u{1b}[32mPASS\u{1b}[0m a.test.lua"),
        "{colored:?}"
    );
    let all = plain(&everything(), Verbosity::Verbose, false);
    assert!(
        !all.contains('\u{1b}') && !all.contains('\u{7}'),
        "a guest's control characters came through: {all:?}"
    );
}

#[test]
fn what_was_shown_before_counts_but_is_not_shown_again() {
    let mut ends = everything();
    ends.truncate(2);
    for end in &mut ends {
        end.shown_before = true;
    }
    assert_snapshot!(plain(&ends, Verbosity::Normal, false), @r"
    failed:
      b.test.lua:12 adds, up: assert_eq failed
    2 file(s); 2 passed, 1 failed, 1 skipped; 4.3 s
    ");
    assert_eq!(written(&ends, JsonReporter), "");
}

#[test]
fn a_file_without_a_wanted_test_is_left_out() {
    let unwanted = FileEnd {
        selected: false,
        ..end(samples::passing("a.test.lua"))
    };
    assert_snapshot!(plain(std::slice::from_ref(&unwanted), Verbosity::Normal, false), @"0 file(s); 0 passed, 0 failed, 0 skipped; 4.3 s");
    assert_eq!(written(&[unwanted], JsonReporter), "");
}

#[test]
fn json_is_one_object_a_line() {
    let ends = [
        end(samples::failing("b.test.lua")),
        end(samples::broken("d.test.lua")),
    ];
    let text = written(&ends, JsonReporter);
    assert_snapshot!(text, @r#"
    {"path":"b.test.lua","timeout":"in_time","passed":false,"chunk_error":null,"duration_ns":1500000000,"tests":[{"name":"fine","status":"passed","message":null,"log":[],"duration_ns":12000000,"line":3,"attempts":1,"flaky":false},{"name":"adds, up","status":"failed","message":"assert_eq failed\n  left:  1\n  right: 100%","log":["before","console of web:\n[    0.1] \u001b[31mred\u001b[0m\r\nbell\u0007"],"duration_ns":12000000,"line":12,"attempts":1,"flaky":false}],"not_run":[],"no_tests":false}
    {"path":"d.test.lua","timeout":"in_time","passed":false,"chunk_error":"d.test.lua:7: unexpected symbol near '<eof>'","duration_ns":1500000000,"tests":[],"not_run":[],"no_tests":false}
    "#);
    let parsed: Vec<FileResult> = text
        .lines()
        .map(|line| serde_json::from_str(line).expect(line))
        .collect();
    assert_eq!(
        parsed,
        [samples::failing("b.test.lua"), samples::broken("d.test.lua")]
    );
}

#[test]
fn github_gets_an_escaped_annotation_per_failure() {
    let mut ends = everything();
    ends.push(end(samples::failing("odd,name:x.test.lua")));
    let text = written(&ends, |output| {
        GithubReporter::new(output, PathBuf::from("/repo/sub"), Some(PathBuf::from("/repo")))
    });
    assert_snapshot!(text, @r"
    ::error file=sub/b.test.lua,line=12::adds, up: assert_eq failed%0A  left:  1%0A  right: 100%25
    ::warning file=sub/c.test.lua,line=3::sometimes: flaky: passed at attempt 2
    ::error file=sub/d.test.lua,line=7::d.test.lua:7: unexpected symbol near '<eof>'
    ::error file=sub/e.test.lua,line=3::hangs: the file's time limit of 5s has passed, waiting in vm:run
    ::error file=sub/f.test.lua,line=3::mended: passed, but `xfail` at a.test.lua:3 expects it to fail (bug 8): take the mark away
    ::error file=sub/g.test.lua::the file has no test
    ::error file=sub/odd%2Cname%3Ax.test.lua,line=12::adds, up: assert_eq failed%0A  left:  1%0A  right: 100%25
    ");
}

#[test]
fn text_goes_above_the_live_view_and_nothing_of_it_is_left_behind() {
    let memory = Memory::default();
    let view = LiveView::new(Box::new(memory.clone()), Box::new(|| Some((40, 24))));
    let output = Output::new(Box::new(memory.clone()), Some(Arc::clone(&view)));
    let live: &dyn Sink = &*view;
    live.emit(Event::RunStarted { files: 2 });
    live.emit(Event::FileStarted {
        path: "a.test.lua".into(),
    });
    output.write("one\n");
    output.write("two\n");
    live.emit(Event::RunEnded(Summary::default()));
    output.write("the last line\n");
    let bytes = memory.0.lock().clone();
    let text = String::from_utf8(bytes).expect("UTF-8");
    // Each text begins in the first column, where the view was, and the view is drawn again below it.
    let above: Vec<_> = text.split("\x1b[?2026l\r\x1b[J").collect();
    assert!(
        above[0].starts_with("one\n") && above[0].contains("a.test.lua"),
        "{text:?}"
    );
    assert!(
        above[1].starts_with("two\n") && above[1].contains("0 of 2 file(s)"),
        "{text:?}"
    );
    assert_eq!(above[2..], ["the last line\n"], "{text:?}");
}

#[test]
fn a_broken_pipe_is_reported_once_and_stops_the_writing() {
    struct Broken(Arc<Mutex<usize>>);
    impl Write for Broken {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            *self.0.lock() += 1;
            Err(io::ErrorKind::BrokenPipe.into())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let tries = Arc::new(Mutex::new(0));
    let output = Output::new(Box::new(Broken(tries.clone())), None);
    output.write("one\n");
    output.write("two\n");
    assert_eq!(*tries.lock(), 1);
    assert_eq!(
        output.take_error().map(|error| error.kind()),
        Some(io::ErrorKind::BrokenPipe)
    );
}

/// What is said about these events beside the tests.
fn noticed(notices: Notices, events: &[Event]) -> String {
    let memory = Memory::default();
    let output = Arc::new(Output::new(Box::new(memory.clone()), None));
    let sinks: [&dyn Sink; 2] = [
        &NoticeReporter::new(output.clone(), notices),
        &HostReporter::new(output, false),
    ];
    for event in events {
        sinks.iter().for_each(|sink| sink.event(event));
    }
    let bytes = memory.0.lock().clone();
    String::from_utf8(bytes).expect("UTF-8")
}

#[test]
fn notices_are_as_many_as_are_wanted() {
    let fixture = || "base".to_owned();
    let events: Vec<Event> = vec![
        ProfileEvent::BuildStarted {
            profile: "min".into(),
            command: "make".into(),
        }
        .into(),
        FixtureEvent::CacheHit {
            fixture: fixture(),
            key: "5a".into(),
        }
        .into(),
        FixtureEvent::BuildStarted { fixture: fixture() }.into(),
        FixtureEvent::Damaged {
            fixture: fixture(),
            what: "torn".into(),
        }
        .into(),
        HostEvent::Chosen { because: None }.into(),
        HostEvent::Chosen {
            because: Some("KVM is absent; so is QEMU".into()),
        }
        .into(),
        HostEvent::Preparing {
            step: "fetching it".into(),
        }
        .into(),
        HostEvent::Starting { start: 1, pid: 1 }.into(),
        HostEvent::Again {
            cause: "it froze".into(),
            start: 2,
            of: 4,
        }
        .into(),
        Event::RunStopping {
            reason: CancelReason::Interrupted,
        },
    ];
    assert_snapshot!(noticed(Notices::Few, &events), @r"
    provium: building profile min: make
    provium: fixture `base`: torn
    provium: the emulated host: fetching it
    provium: it froze; starting it again (2 of 4)
    provium: ending the running tests; Ctrl-C again to quit at once
    ");
    assert_snapshot!(noticed(Notices::Waits, &events), @r"
    provium: building profile min: make
    provium: fixture `base`: building
    provium: fixture `base`: torn
    provium: KVM is absent; using the emulated host, which is slower (`provium doctor` says why)
    provium: the emulated host: fetching it
    provium: it froze; starting it again (2 of 4)
    provium: ending the running tests; Ctrl-C again to quit at once
    ");
    assert_snapshot!(noticed(Notices::All, &events), @r"
    provium: building profile min: make
    provium: fixture `base`: from the cache
    provium: fixture `base`: building
    provium: fixture `base`: torn
    provium: KVM is absent; using the emulated host, which is slower (`provium doctor` says why)
    provium: the emulated host: fetching it
    provium: it froze; starting it again (2 of 4)
    provium: ending the running tests; Ctrl-C again to quit at once
    ");
}

#[test]
fn a_run_that_begins_again_tells_of_its_files_once() {
    let first = end(samples::passing("a.test.lua"));
    let second = end(samples::failing("b.test.lua"));
    let shown = FileEnd {
        shown_before: true,
        ..first.clone()
    };
    let started = || Event::RunStarted { files: 2 };
    let events = [
        started(),
        Event::FileEnded(first),
        started(),
        Event::FileEnded(shown),
        Event::FileEnded(second),
        Event::RunEnded(Summary::default()),
    ];
    let memory = Memory::default();
    let output = Arc::new(Output::new(Box::new(memory.clone()), None));
    let tap = TapReporter::new(output, Dialect::Tap);
    events.iter().for_each(|event| tap.event(event));
    let text = String::from_utf8(memory.0.lock().clone()).expect("UTF-8");
    assert_eq!(text.matches("TAP version").count(), 1, "{text}");
    assert!(text.contains("\nnot ok 4 - b.test.lua > adds, up\n"), "{text}");
    assert!(text.ends_with("\n1..4\n"), "{text}");
    let dir = tempfile::tempdir().expect("a temporary folder");
    let path = dir.path().join("junit.xml");
    let junit = JunitReporter::new(ReportFile::new(path.clone()).expect("it can be written"));
    events.iter().for_each(|event| junit.event(event));
    let text = std::fs::read_to_string(path).expect("the report");
    assert!(
        text.contains("tests=\"4\"") && text.matches("<testsuite ").count() == 2,
        "{text}"
    );
}
