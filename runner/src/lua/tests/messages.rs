//! What failed assertions and wrong calls say, to the letter.

use super::*;

#[test]
fn failures_show_both_values_and_the_line() {
    for (body, expected) in [
        (
            "t:assert(false)",
            "assertion failed\n  got: false\n  2 | t:assert(false)",
        ),
        (
            "t:assert(nil, 'why')",
            "assertion failed: why\n  got: nil\n  2 | t:assert(nil, 'why')",
        ),
        (
            "t:assert_eq(1, '1')",
            "values differ\n  left:  1\n  right: \"1\"\n  2 | t:assert_eq(1, '1')",
        ),
        (
            "t:assert_eq({1, {a = 'x'}}, {1, {a = 'y'}}, 7)",
            "values differ: 7\n  left:  {1, {a = \"x\"}}\n  right: {1, {a = \"y\"}}\n  2 | t:assert_eq({1, {a = 'x'}}, {1, {a = 'y'}}, 7)",
        ),
        (
            "t:assert_neq('a', 'a')",
            "values are equal\n  left:  \"a\"\n  right: \"a\"\n  2 | t:assert_neq('a', 'a')",
        ),
        (
            "t:assert_contains('hay.', 'y%.', 'plain')",
            "string not found: plain\n  needle: \"y%.\"\n  hay:    \"hay.\"\n  2 | t:assert_contains('hay.', 'y%.', 'plain')",
        ),
        ("t:fail()", "failed\n  2 | t:fail()"),
        ("t:fail('so it is')", "so it is\n  2 | t:fail('so it is')"),
        (
            "t:assert_contains({}, 'x')",
            "t:assert_contains: expected a string to search in, got table\n  2 | t:assert_contains({}, 'x')",
        ),
        (
            "t.assert(true)",
            "t:assert: expected a t before the colon, got boolean (call it as `t:assert(…)`)\n  2 | t.assert(true)",
        ),
        (
            "t:asert(true)",
            "t has no `asert`; did you mean `assert`?\n  2 | t:asert(true)",
        ),
        (
            "t:skip()",
            "t:skip: expected a string as reason, got nil\n  2 | t:skip()",
        ),
        (
            "t:assert_raises(7)",
            "t:assert_raises: expected a function that should raise, got number\n  2 | t:assert_raises(7)",
        ),
    ] {
        let result = run_body(body);
        assert_eq!(result.message.as_deref(), Some(expected), "for {body}");
        assert_eq!(
            (result.status, result.line),
            (TestStatus::Failed, Some(2)),
            "for {body}"
        );
    }
}

#[test]
fn multi_line_strings_get_a_diff() {
    let message = failure(r#"t:assert_eq("one\ntwo\nthree\n", "one\nzwei\nthree\n")"#);
    assert!(
        message.starts_with("values differ\n  diff (- left, + right):\n"),
        "{message}"
    );
    assert!(message.contains("\n    -two\n    +zwei"), "{message}");
}

#[test]
fn what_passes_passes() {
    passes(
        r#"
        t:assert_eq(t:assert("value"), "value")
        t:assert_eq({1, {2}}, {1, {2}})
        t:assert_eq(2, 2.0)
        t:assert_neq({}, {1})
        t:assert_neq(1, "1")
        t:assert_contains("a.b", ".")
        t:assert_contains("x", "")
        t:assert_contains("\0\255b", "\255")
        "#,
    );
}

#[test]
fn errors_of_the_body_keep_their_own_line() {
    let result = run_body("local function deep()\n  local x = nil\n  return x.y\nend\nlocal a = deep()");
    assert_eq!(result.line, Some(4));
    assert!(
        result
            .message
            .as_deref()
            .is_some_and(|m| m.starts_with("attempt to index a nil value (local 'x')"))
    );
    let result = run_body("error({code = 1})");
    assert_eq!(
        result.message.as_deref(),
        Some("error value: {code = 1}\n  2 | error({code = 1})")
    );
    let result = run_body("error(setmetatable({}, {__tostring = function() return 'mine' end}))");
    assert!(
        result
            .message
            .as_deref()
            .is_some_and(|m| m.starts_with("error value: mine")),
        "{result:?}"
    );
    let result = run_body("error()");
    assert!(
        result
            .message
            .as_deref()
            .is_some_and(|m| m.starts_with("error value: nil")),
        "{result:?}"
    );
}

#[test]
fn waiting_returns_the_value_or_says_what_for() {
    passes(
        r#"
        local n = 0
        t:assert_eq(wait_until(function() n = n + 1 return n == 3 and "three" end, {interval = 0.001}), "three")
        t:assert_eq(wait_until(function() return 1 end, {timeout = 0}), 1)
        local err = t:assert_raises(function() wait_until(function() error("at once") end) end)
        t:assert_eq(err, "a.test.lua:6: at once")
        local object = {}
        t:assert(t:assert_raises(function() wait_until(function() error(object) end) end) == object)
        "#,
    );
    for (call, expected) in [
        (
            "wait_until(function() end, {timeout = '20ms', interval = '5ms', desc = 'the sun'})",
            "wait_until: the sun not met within 0.02s",
        ),
        (
            "wait_until(function() end, {timeout = 0})",
            "wait_until: condition not met within 0s",
        ),
        (
            "wait_until(1)",
            "wait_until: expected a function as predicate, got number",
        ),
        (
            "wait_until(print, {timout = 1})",
            "wait_until: unknown option `timout`; did you mean `timeout`?",
        ),
        (
            "wait_until(print, {timeout = 0/0})",
            "wait_until: option `timeout`: `NaN` is not a duration",
        ),
        (
            "wait_until(print, {timeout = -1})",
            "wait_until: option `timeout`: `-1` is not a duration",
        ),
        (
            "wait_until(print, {timeout = {}})",
            "wait_until: option `timeout`: expected a duration (seconds, or a string such as \"500ms\"), got table",
        ),
    ] {
        let message = failure(call);
        assert!(message.starts_with(expected), "{call}: {message}");
    }
}

#[test]
fn a_call_of_what_is_not_there_names_the_nearest() {
    for (body, expected) in [
        (
            "provium:vmm('a')",
            "provium has no method `vmm`; did you mean `vm`?",
        ),
        (
            "provium.vm_fixtur('a')",
            "provium has no function `vm_fixtur`; did you mean `vm_fixture`?",
        ),
        ("provium:qqqqqq()", "provium has no method `qqqqqq`"),
        (
            "provium:lab('x'):vmm('a')",
            "lab `x` has no method `vmm`; did you mean `vm`?",
        ),
        (
            "json.encod({})",
            "json has no function `encod`; did you mean `encode`?",
        ),
        (
            "tset('x', print)",
            "there is no global `tset`; did you mean `test`?",
        ),
        ("qqqqqq()", "attempt to call a nil value (global 'qqqqqq')"),
        (
            "local x = {} x.vmm()",
            "attempt to call a nil value (field 'vmm')",
        ),
        (
            "local x = provium.vmm x()",
            "attempt to call a nil value (local 'x')",
        ),
        (
            "wait_until(function() provium:vmm() end)",
            "provium has no method `vmm`; did you mean `vm`?",
        ),
    ] {
        let result = run_body(body);
        let message = result.message.expect("a failure has a message");
        assert_eq!(message, format!("{expected}\n  2 | {body}"));
        assert_eq!(result.line, Some(2));
    }
    passes("t:assert_eq(provium.vmm, nil) t:assert_eq(json.null, nil)");
}
