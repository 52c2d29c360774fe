//! `t:subtest` and `t:ktap`: parts of a test with results of their own.

use provium_base::meta::MetaValue;
use provium_base::outcome::{TestResult, TestStatus};
use provium_base::subtest;

use super::{failure, passes, run, run_body};

/// Path, status and first line of the message of each result.
fn results(test: &TestResult) -> Vec<String> {
    let mut results = Vec::new();
    subtest::results(&test.subtests, &mut |path, part| {
        let said = part.message.as_deref().and_then(|said| said.lines().next());
        let said = said.map(|said| format!(": {said}")).unwrap_or_default();
        results.push(format!("{path} {:?}{said}", part.status));
    });
    results
}

#[test]
fn a_part_that_fails_ends_itself_alone_and_fails_the_test() {
    let test = run_body(
        "local one = t:subtest('one', function(t)\n\
           t:assert_eq(1, 2)\n\
           error('never here')\n\
         end)\n\
         local two = t:subtest('two', function(t) t:log('two ran') end)\n\
         local three = t:subtest('three', function() local x = nil; x.y = 1 end)\n\
         local four = t:subtest('four', function(t) t:skip('no clock') end)\n\
         t:log(one, two, three, four)",
    );
    assert_eq!(
        results(&test),
        [
            "one Failed: values differ",
            "two Passed",
            "three Failed: attempt to index a nil value (local 'x')",
            "four Skipped: no clock"
        ]
    );
    assert_eq!(test.status, TestStatus::Failed);
    assert_eq!(test.log, ["two ran", "false\ttrue\tfalse\ttrue"]);
    let message = test.message.expect("a message");
    let expected =
        "2 of 4 subtest(s) failed\n  one: values differ\n  three: attempt to index a nil value (local 'x')";
    assert!(message.starts_with(expected), "{message}");
    assert_eq!(test.line, Some(3), "the line of the first failure");
    assert_eq!(test.subtests[2].line, Some(7));
}

#[test]
fn parts_nest_and_are_named_by_their_paths() {
    let test = run_body(
        "t:subtest('outer', function(t)\n\
           t:subtest('inner', function(t) t:assert(false) end)\n\
           t:subtest('fine', function() end)\n\
           t:ktap('1..2\\nok 1 a\\nnot ok 2 b\\n')\n\
         end)\n\
         t:subtest('inner', function() end)",
    );
    assert_eq!(
        results(&test),
        [
            "outer / inner Failed: assertion failed",
            "outer / fine Passed",
            "outer / a Passed",
            "outer / b Failed: not ok",
            "inner Passed"
        ]
    );
    let outer = &test.subtests[0];
    assert_eq!((outer.status, &outer.message), (TestStatus::Failed, &None));
    assert!(
        test.message
            .unwrap_or_default()
            .starts_with("2 of 5 subtest(s) failed\n  outer / inner: ")
    );
}

#[test]
fn a_failure_of_the_body_comes_first_and_counts_the_parts() {
    let message = failure("t:subtest('x', function(t) t:fail('inside') end)\nt:fail('outside')");
    assert!(
        message.starts_with("outside\n  (and 1 of 1 subtest(s) failed\n  x: inside)"),
        "{message}"
    );
    let message = failure("t:subtest('x', function(t) t:fail('inside') end)\nt:skip('later')");
    assert!(
        message.starts_with("1 of 1 subtest(s) failed\n  x: inside"),
        "{message}"
    );
    // What a part caught itself counts for it.
    let message = failure("t:subtest('x', function(t) pcall(t.fail, t, 'inside') end)");
    assert!(message.contains("x: inside"), "{message}");
}

#[test]
fn parts_that_pass_leave_a_test_that_passes() {
    let test =
        run_body("t:subtest('a', function() end)\nt:ktap('ok 1 x # SKIP no\\nnot ok 2 y # TODO bug\\n')");
    assert_eq!(test.status, TestStatus::Passed, "{test:?}");
    assert_eq!(results(&test), ["a Passed", "x Skipped: no", "y Xfailed: bug"]);
    passes(
        "local r = t:ktap('ok 1 x # SKIP no\\nnot ok 2 y # TODO bug\\nok 3 z\\n')\n\
            t:assert_eq(r, {passed = 1, failed = 0, skipped = 1, xfailed = 1})",
    );
}

#[test]
fn a_test_that_is_tried_again_has_the_parts_of_its_last_run() {
    let result = run("local n = 0\n\
         test('sometimes', {retries = 1}, function(t)\n\
           n = n + 1\n\
           t:subtest('run ' .. n, function(t) t:assert(n == 2) end)\n\
         end)");
    let test = &result.tests[0];
    assert_eq!((test.status, test.flaky), (TestStatus::Passed, true));
    assert_eq!(results(test), ["run 2 Passed"]);
}

#[test]
fn a_limit_ends_the_part_and_the_test() {
    let result = run("test('slow', {timeout = '100ms'}, function(t)\n\
           t:subtest('spins', function() while true do end end)\n\
           t:subtest('never', function() end)\n\
         end)");
    let test = &result.tests[0];
    assert_eq!(results(test), ["spins Failed: timed out after 0.1s"]);
    let message = test.message.as_deref().unwrap_or_default();
    assert!(message.starts_with("timed out after 0.1s"), "{message}");
}

#[test]
fn mistakes_are_named() {
    let cases = [
        (
            "t:subtest('x')",
            "t:subtest: expected a function as body, got nil",
        ),
        ("t:subtest(1, print)", "t:subtest: expected a string as name"),
        (
            "t:subtest('', print)",
            "t:subtest: expected a string as name, got an empty string",
        ),
        (
            "t:subtest('x', function() end) t:subtest('x', function() end)",
            "t:subtest: duplicate name `x` in this test",
        ),
        ("t:ktap()", "t:ktap: expected a string of KTAP or TAP"),
        (
            "t:defer(function(t) t:subtest('x', function() end) end)",
            "the test's body is over",
        ),
        (
            "local function deeper(t) t:subtest('x', deeper) end deeper(t)",
            "more than 16 subtests in each other",
        ),
    ];
    for (body, expected) in cases {
        let message = failure(body);
        assert!(message.contains(expected), "{body}: {message}");
    }
    let message = failure("t:ktap('no results')");
    assert!(
        message.contains("(K)TAP: there is no result in the output"),
        "{message}"
    );
}

#[test]
fn results_carry_the_metadata_as_it_was_written() {
    let result = run(
        "test('x', {spec = {'A-1', 'A-2'}, level = 3, share = 0.5, wild = true, \
         deep = {owner = {name = 'ann'}}, raw = '\\xFF', empty = {}}, function(t) end)",
    );
    let meta = &result.tests[0].meta;
    let text = |text: &str| MetaValue::Text(text.to_owned());
    assert_eq!(meta["spec"], MetaValue::Array(vec![text("A-1"), text("A-2")]));
    assert_eq!(
        (&meta["level"], &meta["share"]),
        (&MetaValue::Int(3), &MetaValue::Float(0.5))
    );
    assert_eq!(
        (&meta["wild"], &meta["raw"]),
        (&MetaValue::Bool(true), &MetaValue::Binary(vec![0xff].into()))
    );
    let MetaValue::Map(deep) = &meta["deep"] else {
        panic!("{meta:?}")
    };
    assert!(matches!(&deep["owner"], MetaValue::Map(owner) if owner["name"] == text("ann")));
    assert_eq!(meta["empty"], MetaValue::Map(Default::default()));
}
