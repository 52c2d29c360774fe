//! Ending what does not end by itself.

use std::time::{Duration, Instant};

use provium_base::cancel::CancelReason;

use super::*;

#[test]
fn a_busy_loop_ends_at_its_limit_with_its_line() {
    let result = run(
        "provium.timeout = 30\ntest('loop', {timeout = '60ms'}, function()\n  local x = 0\n  while true do\n    x = x + 1\n  end\nend)\ntest('after', function() for _ = 1, 100000 do end end)",
    );
    assert_eq!(
        statuses(&result),
        [("loop", TestStatus::Failed), ("after", TestStatus::Passed)]
    );
    let message = result.tests[0].message.clone().expect("a message");
    assert!(message.starts_with("timed out after 0.06s\n"), "{message}");
    assert!(
        matches!(result.tests[0].line, Some(4 | 5)),
        "{:?}",
        result.tests[0].line
    );
}

#[test]
fn pcall_does_not_keep_a_test_alive() {
    for body in [
        "while true do pcall(function() while true do end end) end",
        "local co = coroutine.wrap(function() while true do pcall(function() while true do end end) end end) co()",
        "while true do pcall(wait_until, function() return false end) end",
        "t:assert_raises(function() while true do end end)",
    ] {
        let started = Instant::now();
        let result = run(&format!(
            "provium.timeout = '50ms'\ntest('x', function(t)\n{body}\nend)"
        ));
        assert_eq!(statuses(&result), [("x", TestStatus::Failed)], "{body}");
        let message = result.tests[0].message.clone().expect("a message");
        assert!(message.starts_with("timed out after 0.05s"), "{body}: {message}");
        assert_eq!(result.tests[0].line, Some(3), "{body}");
        assert!(started.elapsed() < Duration::from_secs(20), "{body}");
    }
}

#[test]
fn a_wait_ends_at_the_limit_and_names_the_call() {
    let result = run(
        "test('x', {timeout = 0.05}, function()\n  wait_until(function() end, {interval = 60, timeout = 100})\nend)",
    );
    let message = result.tests[0].message.clone().expect("a message");
    assert!(
        message.starts_with("timed out after 0.05s, waiting in wait_until\n  2 | wait_until("),
        "{message}"
    );
    assert_eq!(result.tests[0].line, Some(2));
}

#[test]
fn a_test_that_catches_its_ending_gets_no_further() {
    let result = run(
        "test('x', {timeout = 0.05}, function(t)\n  pcall(wait_until, function() end, {timeout = 100})\n  t:log('later')\nend)",
    );
    let message = result.tests[0].message.clone().expect("a message");
    assert!(
        message.starts_with("timed out after 0.05s, waiting in wait_until"),
        "{message}"
    );
    assert!(result.tests[0].log.is_empty(), "{:?}", result.tests[0].log);
}

#[test]
fn no_limit_and_a_zero_limit_are_no_limit() {
    passes("wait_until(function() return true end)");
    let result = run(
        "provium.timeout = '1ms'\ntest('x', {timeout = 0}, function() local n = 0 wait_until(function() n = n + 1 return n > 3 end, {interval = 0.01}) end)",
    );
    assert!(result.passed, "{result:?}");
    let result = run(
        "provium.timeout = 1\nassert(provium.timeout == 1)\nprovium.timeout = nil\nassert(provium.timeout == nil)",
    );
    assert!(result.passed, "{result:?}");
}

#[test]
fn cancelling_the_file_ends_the_test_and_leaves_out_the_rest() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let job = FileJob {
        timeout: Some(Duration::from_secs(7)),
        ..job(
            dir.path(),
            "test('a', function()\n while true do end\nend)\ntest('b', print)",
        )
    };
    for (reason, expected) in [
        (CancelReason::Interrupted, "interrupted"),
        (
            CancelReason::FileTimeout,
            "the file's time limit of 7s has passed",
        ),
        (
            CancelReason::FailFast,
            "stopped: another test failed (--fail-fast)",
        ),
    ] {
        let job = FileJob {
            cancel: Cancel::new(),
            ..job.clone()
        };
        let token = job.cancel.clone();
        let killer = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(50));
            token.cancel(reason);
        });
        let result = run_file(&job, &silent());
        killer.join().expect("the other thread");
        assert_eq!(statuses(&result), [("a", TestStatus::Failed)]);
        assert!(!result.passed);
        assert_eq!(result.tests[0].line, Some(2));
        let message = result.tests[0].message.clone().expect("a message");
        assert!(message.starts_with(expected), "{message}");
    }
}

#[test]
fn cancelling_during_the_chunk_is_a_chunk_error() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let job = job(dir.path(), "test('a', print)\nwhile true do end");
    job.cancel.cancel(CancelReason::Interrupted);
    let result = run_file(&job, &silent());
    assert_eq!(result.chunk_error.as_deref(), Some("a.test.lua:2: interrupted"));
    assert!(result.tests.is_empty() && !result.passed);
}

#[test]
fn endless_recursion_is_an_error_of_the_test() {
    let message = failure("local function f() return 1 + f() end\nf()");
    assert!(message.starts_with("stack overflow"), "{message}");
}
