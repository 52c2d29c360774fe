//! Tests that are expected to fail.

use provium_base::cancel::CancelReason;

use super::*;
use crate::lua::run_file;
use crate::session::known::KnownFailures;

#[test]
fn an_expected_failure_is_none_and_an_unexpected_pass_is_one() {
    let result = run(r#"
        test("fails", {xfail = "bug 7"}, function(t) t:fail("no") end)
        test("fails too", {xfail = true}, function() error("no", 0) end)
        test("passes", {xfail = "bug 8"}, function(t) end)
        test("skips", {xfail = true}, function(t) t:skip("later") end)
        test("not", {xfail = false}, function(t) end)
        test("runs once", {xfail = true, retries = 3}, function(t) print("ran") t:fail() end)
        test("its own limit", {xfail = true, timeout = "50ms"}, function(t) while true do end end)
        "#);
    use TestStatus::{Passed, Skipped, Xfailed, Xpassed};
    assert_eq!(
        statuses(&result),
        [
            ("fails", Xfailed),
            ("fails too", Xfailed),
            ("passes", Xpassed),
            ("skips", Skipped),
            ("not", Passed),
            ("runs once", Xfailed),
            ("its own limit", Xfailed),
        ]
    );
    let message = |at: usize| result.tests[at].message.clone().unwrap_or_default();
    assert!(
        message(0).starts_with("expected to fail (bug 7): no\n  2 | "),
        "{}",
        message(0)
    );
    assert!(message(1).starts_with("expected to fail: no\n"), "{}", message(1));
    assert_eq!(
        message(2),
        "passed, and `xfail` at a.test.lua:4 expects it to fail (bug 8): take that mark away"
    );
    assert_eq!(result.tests[5].log, ["ran"]);
    assert!(!result.passed, "one passed that was to fail");
    assert!(run("test('x', {xfail = true}, error)").passed);
    for (meta, expected) in [
        ("1", "metadata `xfail`: expected true or a reason, got number"),
        (
            "''",
            "metadata `xfail`: expected true or a reason, got an empty string",
        ),
    ] {
        let error = run(&format!("test('x', {{xfail = {meta}}}, print)")).chunk_error;
        assert!(error.is_some_and(|error| error.ends_with(expected)), "{meta}");
    }
}

#[test]
fn the_list_of_known_failures_is_as_good_as_the_mark() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let known = |name: &str, source: &str| {
        let list = dir.path().join("known.txt");
        std::fs::write(&list, format!("a.test.lua::{name}  bug 7\n")).expect("a file");
        let known = KnownFailures::read(&list, "known.txt", dir.path()).expect("it is right");
        let mut job = job(dir.path(), source);
        job.known = Arc::new(known);
        run_file(&job, &silent())
    };
    let one = "test('one', error)\ntest('two', function() end)";
    let result = known("one", one);
    use TestStatus::{Failed, Passed, Xfailed, Xpassed};
    assert_eq!(statuses(&result), [("one", Xfailed), ("two", Passed)]);
    assert!(result.passed);
    let result = known("two", one);
    assert_eq!(statuses(&result), [("one", Failed), ("two", Xpassed)]);
    // A classic file that is one test by itself is listed by its name.
    assert_eq!(statuses(&known("a", "assert(false)")), [("a", Xfailed)]);
    assert_eq!(statuses(&known("a", "assert(true)")), [("a", Xpassed)]);
    assert_eq!(statuses(&known("b", "assert(false)")), [("a", Failed)]);
}

#[test]
fn what_is_ended_with_its_file_has_not_failed_as_expected() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let job = job(
        dir.path(),
        "test('x', {xfail = true}, function() while true do end end)",
    );
    let token = job.cancel.clone();
    let ender = std::thread::spawn(move || {
        std::thread::sleep(std::time::Duration::from_millis(50));
        token.cancel(CancelReason::FileTimeout);
    });
    let result = run_file(&job, &silent());
    ender.join().expect("the other thread");
    assert_eq!(statuses(&result), [("x", TestStatus::Failed)]);
}
