//! What runs around a test: `before_each` and `after_each`, `t:defer`, `t:on_failure`.

use std::time::Duration;

use provium_base::cancel::CancelReason;

use super::*;
use crate::lua::run_file;

/// The log of each test, a line each behind the test's name.
fn logs(result: &FileResult) -> Vec<String> {
    let logs = result.tests.iter();
    logs.map(|test| format!("{}: {}", test.name, test.log.join(" ")))
        .collect()
}

#[test]
fn all_of_it_runs_in_its_order_whatever_came() {
    let result = run(r#"
        provium.before_each(function(t) t:log("b1") end)
        provium:before_each(function(t) t:log("b2", t.name) end)
        provium.after_each(function(t) t:log("a1") end)
        provium.after_each(function(t) t:log("a2") end)
        local function body(t)
            t:defer(function() t:log("d1") end)
            t:defer(function(same) same:log("d2") same:defer(function() t:log("d3") end) end)
            t:on_failure(function(message) t:log("f", message) end)
            t:log("body")
        end
        test("passes", body)
        test("fails", function(t) body(t) t:fail("no") end)
        test("raises", function(t) body(t) error("no", 0) end)
        test("skips", function(t) body(t) t:skip("later") end)
        test("never begins", {skip = true}, body)
        "#);
    let end = "d2 d3 d1 a2 a1";
    assert_eq!(
        logs(&result),
        [
            format!("passes: b1 b2\tpasses body {end}"),
            format!("fails: b1 b2\tfails body f\tno {end}"),
            format!("raises: b1 b2\traises body f\tno {end}"),
            format!("skips: b1 b2\tskips body {end}"),
            "never begins: ".to_owned(),
        ]
    );
    use TestStatus::{Failed, Passed, Skipped};
    let got: Vec<_> = result.tests.iter().map(|test| test.status).collect();
    assert_eq!(got, [Passed, Failed, Failed, Skipped, Skipped]);
}

#[test]
fn a_test_whose_preparation_failed_does_not_run() {
    for (hook, expected) in [
        (
            "error('not ready', 0)",
            "not ready\n  (in a function of provium.before_each; the test's body did not run)",
        ),
        (
            "t:assert_eq(1, 2)",
            "values differ\n  left:  1\n  right: 2\n  (in a function of provium.before_each;",
        ),
        (
            "pcall(t.fail, t, 'caught')",
            "caught\n  (the body caught this failure; it counts all the same)\n  (in a",
        ),
    ] {
        let result = run(&format!(
            "provium.before_each(function(t)\n  t:defer(function() t:log('deferred') end)\n  {hook}\nend)\n\
             provium.after_each(function(t) t:log('after') end)\n\
             test('x', function(t) t:log('body') end)"
        ));
        let test = &result.tests[0];
        let message = test.message.as_deref().unwrap_or_default();
        assert!(message.starts_with(expected), "{hook}: {message}");
        assert_eq!((test.status, test.line), (TestStatus::Failed, Some(3)), "{hook}");
        assert_eq!(test.log, ["deferred", "after"], "{hook}");
    }
    let result = run("provium.before_each(function(t) t:skip('no disk') end)\ntest('x', error)");
    assert_eq!(
        (result.tests[0].status, result.tests[0].message.as_deref()),
        (TestStatus::Skipped, Some("no disk"))
    );
}

#[test]
fn an_error_of_the_clean_up_fails_the_test_and_nothing_is_left_out() {
    let result = run(r#"
        test("passes but for this", function(t)
            t:on_failure(function(message) t:log("told", message) end)
            t:defer(function() t:log("still runs") end)
            t:defer(function() error("cannot clean", 0) end)
            t:defer(function()
                t:assert(false, "not clean")
            end)
        end)
        test("fails by itself", function(t)
            t:defer(function() error("this as well", 0) end)
            t:fail("first")
        end)
        test("cannot skip now", function(t)
            t:defer(function() t:skip("too late") end)
        end)
        test("an error while telling", function(t)
            t:on_failure(function() error("deaf", 0) end)
            t:on_failure(function() t:log("the second hears") end)
            t:fail("first")
        end)
        "#);
    let [first, second, third, fourth] = result.tests.as_slice() else {
        panic!("{result:?}")
    };
    let message = first.message.as_deref().unwrap_or_default();
    assert!(
        message.starts_with("assertion failed: not clean\n  got: false\n  (in a function of t:defer)"),
        "{message}"
    );
    assert_eq!((first.status, first.line), (TestStatus::Failed, Some(7)));
    assert_eq!(
        first.log,
        [
            "a function of t:defer failed too at line 5: cannot clean",
            "still runs",
            "told\tassertion failed: not clean\n  got: false\n  (in a function of t:defer)",
        ]
    );
    assert!(
        second
            .message
            .as_deref()
            .is_some_and(|message| message.starts_with("first"))
    );
    assert_eq!(
        second.log,
        ["a function of t:defer failed too at line 11: this as well"]
    );
    assert!(
        third
            .message
            .as_deref()
            .is_some_and(|message| message.starts_with("t:skip: the test's body is over")),
        "{third:?}"
    );
    assert_eq!(
        fourth.log,
        [
            "a function of t:on_failure failed too at line 18: deaf",
            "the second hears"
        ]
    );
}

#[test]
fn the_tests_vms_are_there_until_its_clean_up_is_through() {
    let result = run_in_project(
        r#"
        test("x", function(t)
            local vm = provium:vm("own", "min")
            t:defer(function() t:log(provium:vm("own"):state(), vm == provium.own) end)
        end)
        test("y", function(t) t:assert_eq(provium.own, nil) end)
        "#,
    );
    assert_eq!(logs(&result), ["x: created\ttrue", "y: "]);
    assert!(result.passed, "{result:?}");
}

#[test]
fn a_limit_that_has_passed_leaves_the_clean_up_its_own_time() {
    let result = run(r#"
        test("x", {timeout = "50ms"}, function(t)
            t:on_failure(function(message) t:log(message) end)
            t:defer(function()
                for _ = 1, 100000 do end
                wait_until(function() return true end)
                t:log("cleaned")
            end)
            wait_until(function() end, {timeout = 100})
        end)
        test("y", function() for _ = 1, 100000 do end end)
        "#);
    use TestStatus::{Failed, Passed};
    assert_eq!(statuses(&result), [("x", Failed), ("y", Passed)]);
    let log = &result.tests[0].log;
    assert!(
        log[0].starts_with("timed out after 0.05s") && log[1] == "cleaned",
        "{log:?}"
    );
}

#[test]
fn what_a_deferred_function_has_taken_from_an_ended_body_is_still_there() {
    for body in [
        "while true do end",
        "pcall(function() while true do end end)",
        "local co = coroutine.wrap(function() while true do end end) co()",
        "while true do pcall(error) end",
    ] {
        let result = run(&format!(
            "test('x', {{timeout = '50ms'}}, function(t)\n\
             local name, list = 'text', {{1, 2}}\n\
             t:on_failure(function() t:log(name) end)\n\
             t:defer(function() t:log(name, #list) end)\n{body}\nend)"
        ));
        assert_eq!(statuses(&result), [("x", TestStatus::Failed)], "{body}");
        assert_eq!(result.tests[0].log, ["text", "text\t2"], "{body}");
    }
}

#[test]
fn an_ended_run_leaves_the_clean_up_its_own_time() {
    for reason in [CancelReason::Interrupted, CancelReason::FileTimeout] {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let source = "provium.after_each(function(t) t:log('after') end)\n\
                      test('x', function(t)\n\
                      t:defer(function() for _ = 1, 100000 do end t:log('cleaned') end)\n\
                      wait_until(function() end, {timeout = 100})\nend)\ntest('y', print)";
        let job = job(dir.path(), source);
        let token = job.cancel.clone();
        let ender = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(50));
            token.cancel(reason);
        });
        let result = run_file(&job, &silent());
        ender.join().expect("the other thread");
        assert_eq!(statuses(&result), [("x", TestStatus::Failed)]);
        assert_eq!(result.tests[0].log, ["cleaned", "after"], "{reason}");
    }
}

#[test]
fn what_is_given_in_the_wrong_place_or_is_no_function_is_refused() {
    for (body, expected) in [
        (
            "t:defer()",
            "t:defer: expected a function to run at the end of the test, got nil",
        ),
        (
            "t:on_failure('x')",
            "t:on_failure: expected a function to run if the test fails, got string",
        ),
        (
            "provium.before_each(print)",
            "provium.before_each: it is for all tests of the file and goes before them, and test `the test` runs",
        ),
        (
            "t:defer(function() t:on_failure(print) end)",
            "t:on_failure: the test is over; what it came to is known",
        ),
    ] {
        let message = failure(body);
        assert!(message.starts_with(expected), "{body}: {message}");
    }
    let result = run("provium:lab('x').before_each(print)");
    assert_eq!(
        result.chunk_error.as_deref(),
        Some("a.test.lua:1: provium.before_each: lab `x` has no tests; the file has")
    );
    let result =
        run("local kept\ntest('a', function(t) kept = t end)\ntest('b', function() kept:defer(print) end)");
    let message = result.tests[1].message.as_deref().unwrap_or_default();
    assert!(
        message.starts_with("t:defer: this `t` belongs to test `a`, which is over"),
        "{message}"
    );
}
