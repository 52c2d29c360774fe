//! What passed for a condition, a comparison or an expected error and was none.

use super::remote::{all_pass, run_with_agent};
use super::*;

#[test]
fn a_result_is_no_condition_and_says_what_to_write() {
    let result = run_with_agent(
        r#"
        test("t:assert", function(t) t:assert(vm:run("false")) end)
        test("assert", function() assert(vm:run("true")) end)
        test("wait_until", function() wait_until(function() return vm:run("false") end) end)
        test("classic assert", function() assert(vm:exec("false")) end)
        test("classic t:assert", function(t) t:assert(vm:exec("true")) end)
        test("classic wait", function() vm:wait_until(function() return vm:exec("false") end) end)
        test("job", function() assert(vm:job_wait(vm:background("false"))) end)
        test("started", function() assert(vm:background("false")) end)
        "#,
    );
    let run =
        "a RunResult, which is always true; write `:ok()` for the condition, or `:assert_ok()` in place of";
    let exec = "a result of `exec`, which is always true; write `.ok`";
    for (name, expected) in [
        ("t:assert", format!("t:assert: expected a condition, got {run}")),
        ("assert", format!("assert: expected a condition, got {run}")),
        ("wait_until", format!("wait_until: the predicate returned {run}")),
        (
            "classic assert",
            format!("assert: expected a condition, got {exec}"),
        ),
        (
            "classic t:assert",
            format!("t:assert: expected a condition, got {exec}"),
        ),
        (
            "classic wait",
            format!("vm:wait_until: the predicate returned {exec}"),
        ),
        (
            "job",
            "assert: expected a condition, got a result of a job, which is always true; write `.exit_code"
                .into(),
        ),
        (
            "started",
            "assert: expected a condition, got a Job, which is always true; write what `job_wait`".into(),
        ),
    ] {
        let test = result.tests.iter().find(|test| test.name == name).expect(name);
        let message = test.message.as_deref().unwrap_or_default();
        assert_eq!(test.status, TestStatus::Failed, "{name}");
        assert!(message.starts_with(&expected), "{name}: {message}");
    }
}

#[test]
fn what_a_result_says_is_a_condition() {
    all_pass(
        r#"
        test("results", function(t)
            t:assert(vm:run("true"):ok())
            t:assert(not vm:run("false"):ok())
            assert(vm:exec("true").ok)
            assert(not vm:exec("false").ok)
            wait_until(function() return vm:run("true"):ok() end)
            assert_eq({ok = true, exit_code = 0, stdout = "x\n", stderr = ""}, {
                ok = true, exit_code = 0, stdout = vm:exec("echo x").stdout.value, stderr = "",
            })
            local keys = 0
            for _ in pairs(vm:exec("true")) do keys = keys + 1 end
            t:assert_eq(keys, 4)
        end)
        "#,
    );
}

#[test]
fn a_handle_is_no_condition() {
    for (body, expected) in [
        (
            "t:assert(provium)",
            "t:assert: expected a condition, got a Lab, which is always true; ask it something",
        ),
        (
            "t:assert(t)",
            "t:assert: expected a condition, got a t, which is always true",
        ),
        (
            "t:assert(provium:vm('x', 'min'))",
            "t:assert: expected a condition, got a VM, which is always true; ask it something, with `vm:…` or `==`",
        ),
        (
            "wait_until(function() return provium:vm('x', 'min') end)",
            "wait_until: the predicate returned a VM, which is always true",
        ),
        (
            "t:assert(provium:vm('x', 'min'):console())",
            "t:assert: expected a condition, got a Console, which is always true",
        ),
    ] {
        let result = run_in_project(&format!("test('x', function(t) {body} end)"));
        let message = result.tests[0].message.as_deref().unwrap_or_default();
        assert!(message.starts_with(expected), "{body}: {message}");
    }
    // What is Lua's own stays as it is, and so does `assert` around what returns a handle.
    let result = run_in_project(
        "test('x', function(t)
            local file = assert(io.open('/dev/null'))
            assert(io.type(t:assert(file)) == 'file')
            local vm = assert(provium:vm('x', 'min'))
            assert(vm:name() == 'x')
            assert(t:assert('a string') == 'a string' and t:assert({}))
            t:assert(setmetatable({}, {__name = 'mine'}))
        end)",
    );
    assert_eq!(statuses(&result), [("x", TestStatus::Passed)], "{result:?}");
}

#[test]
fn a_comparison_has_two_values() {
    for (body, expected) in [
        (
            "t:assert_eq()",
            "t:assert_eq: expected two values to compare, got none",
        ),
        (
            "t:assert_eq(nil)",
            "t:assert_eq: expected two values to compare, got one; where one is to be nil, write nil",
        ),
        (
            "t:assert_neq(1)",
            "t:assert_neq: expected two values to compare, got one",
        ),
        (
            "t:assert_contains('x')",
            "t:assert_contains: expected two values to search in and to search for, got one",
        ),
        (
            "assert_eq(nil)",
            "assert_eq: expected two values to compare, got one",
        ),
        (
            "assert_contains()",
            "assert_contains: expected two values to search in and to search for, got none",
        ),
        (
            "local function none() end t:assert_eq(nil, none())",
            "t:assert_eq: expected two values",
        ),
    ] {
        let message = failure(body);
        assert!(message.starts_with(expected), "{body}: {message}");
    }
    passes("t:assert_eq(nil, nil) t:assert_neq(1, nil) assert_eq(nil, nil)");
}

#[test]
fn an_expected_error_is_that_error() {
    passes(
        r#"
        t:assert_eq(t:assert_raises(function() error("no disk", 0) end, {match = "disk"}), "no disk")
        t:assert_raises(function() error("no disk 7") end, {pattern = "disk %d$"})
        t:assert_raises(function() error("a (b) c") end, {match = "(b)", pattern = "^a.test", msg = "both"})
        t:assert_raises(function() error(setmetatable({}, {__tostring = function() return "mine" end})) end, {match = "mine"})
        t:assert_raises(function() error("x") end, {})
        "#,
    );
    for (body, expected) in [
        (
            "t:assert_raises(function() error('no disk', 0) end, {match = 'memory', msg = 'why'})",
            "another error was raised: why\n  match: \"memory\"\n  error: \"no disk\"\n  2 | ",
        ),
        (
            "t:assert_raises(function() error('no disk', 0) end, {match = 'disk', pattern = '%d'})",
            "another error was raised\n  pattern: \"%d\"\n  error: \"no disk\"\n",
        ),
        (
            "t:assert_raises(function() error('x', 0) end, {pattern = '['})",
            "t:assert_raises: pattern \"[\": malformed pattern",
        ),
        (
            "t:assert_raises(print, {mach = 'x'})",
            "t:assert_raises: unknown option `mach`; did you mean `match`?",
        ),
        (
            "t:assert_raises(print, {match = 1})",
            "t:assert_raises: option `match`: expected a string, got number",
        ),
        (
            "t:assert_raises(print, 'No such file')",
            "no error was raised: No such file\n  the function returned nothing\n  (the text is this assertion's \
             message; to match the error write {match = …} or {pattern = …})\n",
        ),
        (
            "t:assert_raises(print, {match = 'x', msg = 'why'})",
            "no error was raised: why\n  the function returned nothing\n  2 |",
        ),
    ] {
        let message = failure(body);
        assert!(message.starts_with(expected), "{body}: {message}");
    }
}

#[test]
fn a_log_line_has_all_that_was_given() {
    let result = run_body("t:log('a', 1, nil, {2})\nt:log()\nt:log(nil)");
    assert_eq!(result.log, ["a\t1\tnil\t{2}", "", "nil"]);
}
