//! Results of files that tests of several modules use.
//!
//! Input: a path. Output: a result of each sort there is. Not here: anything but tests.

use provium_base::outcome::{FileResult, TestResult, TestStatus, Timeliness};

const MS: u64 = 1_000_000;

fn file(path: &str, tests: Vec<TestResult>) -> FileResult {
    FileResult {
        passed: !tests.iter().any(|test| test.status.counts_against_the_run()),
        duration_ns: 1500 * MS,
        tests,
        ..FileResult::new(path)
    }
}

pub(crate) fn test(name: &str, status: TestStatus, message: Option<&str>) -> TestResult {
    TestResult {
        message: message.map(str::to_owned),
        duration_ns: 12 * MS,
        line: Some(3),
        ..TestResult::new(name, status)
    }
}

pub(crate) fn passing(path: &str) -> FileResult {
    let mut logged = test("boots", TestStatus::Passed, None);
    logged.log = vec!["uname says 6.12".into()];
    file(
        path,
        vec![
            logged,
            test("needs a disk", TestStatus::Skipped, Some("no disk here")),
        ],
    )
}

pub(crate) fn failing(path: &str) -> FileResult {
    let mut failed = test(
        "adds, up",
        TestStatus::Failed,
        Some("assert_eq failed\n  left:  1\n  right: 100%"),
    );
    failed.line = Some(12);
    failed.log = vec![
        "before".into(),
        "console of web:\n[    0.1] \u{1b}[31mred\u{1b}[0m\r\nbell\u{7}".into(),
    ];
    file(path, vec![test("fine", TestStatus::Passed, None), failed])
}

pub(crate) fn flaky(path: &str) -> FileResult {
    let message = Some("flaky: passed at attempt 2");
    let sometimes = TestResult {
        attempts: 2,
        flaky: true,
        ..test("sometimes", TestStatus::Passed, message)
    };
    file(path, vec![sometimes])
}

pub(crate) fn expected(path: &str) -> FileResult {
    let known = "expected to fail (bug 7): left and right differ";
    let mended = "passed, but `xfail` at a.test.lua:3 expects it to fail (bug 8): take the mark away";
    file(
        path,
        vec![
            test("known", TestStatus::Xfailed, Some(known)),
            test("mended", TestStatus::Xpassed, Some(mended)),
        ],
    )
}

pub(crate) fn without_tests(path: &str) -> FileResult {
    FileResult {
        passed: false,
        no_tests: true,
        ..file(path, Vec::new())
    }
}

pub(crate) fn broken(path: &str) -> FileResult {
    let chunk_error = Some(format!("{path}:7: unexpected symbol near '<eof>'"));
    FileResult {
        passed: false,
        chunk_error,
        ..file(path, Vec::new())
    }
}

pub(crate) fn timed_out(path: &str) -> FileResult {
    let message = "the file's time limit of 5s has passed, waiting in vm:run";
    let tests = vec![test("hangs", TestStatus::Failed, Some(message))];
    FileResult {
        passed: false,
        timeout: Timeliness::TimedOut,
        not_run: vec!["behind it".into(), "and the last".into()],
        ..file(path, tests)
    }
}

pub(crate) fn stopped(path: &str) -> FileResult {
    let tests = vec![
        test("done", TestStatus::Passed, None),
        test("cut", TestStatus::Skipped, Some("interrupted")),
    ];
    FileResult {
        passed: false,
        ..file(path, tests)
    }
}
