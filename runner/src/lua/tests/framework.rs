//! Registering, order, skipping, metadata, scope, `require`, output.

use super::*;
use crate::lua::run_file;

#[test]
fn tests_run_after_the_chunk_in_their_order() {
    let result = run(r#"
        local seen = {}
        test("first", function(t) t:assert_eq(#seen, 1) seen[2] = t.name end)
        seen[1] = "chunk"
        test("second", {spec = "4.1", tags = {"a"}}, function(t)
            t:assert_eq(seen, {"chunk", "first"})
            t:assert_eq(t.meta.spec, "4.1")
            t:assert_eq(tostring(t), "t of test `second`")
        end)
    "#);
    assert_eq!(
        statuses(&result),
        [("first", TestStatus::Passed), ("second", TestStatus::Passed)]
    );
    assert!(result.passed && result.duration_ns > 0);
    assert_eq!(result.tests[0].line, Some(3));
}

#[test]
fn a_failing_test_fails_alone() {
    let result = run("test('bad', function() error('no') end)\ntest('good', function() end)");
    assert_eq!(
        statuses(&result),
        [("bad", TestStatus::Failed), ("good", TestStatus::Passed)]
    );
    assert!(!result.passed);
    assert_eq!(result.tests[0].line, Some(1));
    assert_eq!(
        result.tests[0].message.as_deref(),
        Some("no\n  1 | test('bad', function() error('no') end)")
    );
}

#[test]
fn wrong_registrations_are_chunk_errors_at_their_line() {
    for (source, expected) in [
        (
            "\ntest()",
            "a.test.lua:2: test: expected a string as name, got nil",
        ),
        (
            "test('')",
            "a.test.lua:1: test: expected a string as name, got an empty string",
        ),
        (
            "test('x')",
            "a.test.lua:1: test: expected a function as body, got nil",
        ),
        (
            "test('x', {})",
            "a.test.lua:1: test: expected a function as body, got nil",
        ),
        (
            "test('x', 1, print)",
            "a.test.lua:1: test: expected a function, or a table of metadata and a function, got number",
        ),
        (
            "test('x', print)\n\ntest('x', print)",
            "a.test.lua:3: test: duplicate name `x` in this file",
        ),
        (
            "test('x', {timeout = 'soon'}, print)",
            "a.test.lua:1: test: metadata `timeout`: `soon` is not a duration; write seconds, or a number with ms, s, m or h such as `500ms` or `2m`",
        ),
        (
            "test('x', {retries = -1}, print)",
            "a.test.lua:1: test: metadata `retries`: expected 0 or more, got -1",
        ),
        (
            "test('x', {skip = 1}, print)",
            "a.test.lua:1: test: metadata `skip`: expected true or a reason, got number",
        ),
        (
            "test('x', {skip = ''}, print)",
            "a.test.lua:1: test: metadata `skip`: expected true or a reason, got an empty string",
        ),
        (
            "local x = nil\nx.y = 1",
            "a.test.lua:2: attempt to index a nil value (local 'x')",
        ),
        ("x =", "a.test.lua:1: unexpected symbol near <eof>"),
        ("error({code = 7})", "error value: {code = 7}"),
    ] {
        let result = run(source);
        assert_eq!(result.chunk_error.as_deref(), Some(expected), "for {source}");
        assert!(!result.passed && result.tests.is_empty());
    }
}

#[test]
fn a_test_cannot_register_a_test() {
    assert!(
        failure("test('inner', print)")
            .starts_with("test: cannot register a test while test `the test` runs")
    );
}

#[test]
fn a_missing_file_is_a_chunk_error() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let job = job(dir.path(), "");
    std::fs::remove_file(&job.path).expect("it can be removed");
    let error = run_file(&job, &silent()).chunk_error.expect("an error");
    assert!(error.starts_with("a.test.lua: cannot be read: "), "{error}");
}

#[test]
fn skipping_in_every_way() {
    let result = run(r#"
        test("meta", {skip = true}, function() error("ran") end)
        test("reason", {skip = "not on arm"}, function() error("ran") end)
        test("not", {skip = false}, function() end)
        test("body", function(t) t:skip("no need") error("ran") end)
        test("todo", function() todo("write me") error("ran") end)
        test("plain todo", function() todo() end)
        test("caught", function(t) pcall(t.skip, t, "still skipped") end)
        test("then failed", function(t) pcall(t.skip, t, "x") error("worse") end)
    "#);
    let got: Vec<_> = result
        .tests
        .iter()
        .map(|t| (t.name.as_str(), t.status, t.message.clone().unwrap_or_default()))
        .collect();
    let skipped = |name, reason: &str| (name, TestStatus::Skipped, reason.to_owned());
    assert_eq!(
        got[..7],
        [
            skipped("meta", "skip"),
            skipped("reason", "not on arm"),
            ("not", TestStatus::Passed, String::new()),
            skipped("body", "no need"),
            skipped("todo", "write me"),
            skipped("plain todo", "todo"),
            skipped("caught", "still skipped"),
        ]
    );
    assert_eq!(got[7].1, TestStatus::Failed);
    let only = run("todo('later')");
    assert_eq!(statuses(&only), [("a", TestStatus::Skipped)]);
    assert!(only.passed && !only.no_tests);
    let all = run("todo()\ntest('a', error)\ntest('b', error)");
    assert!(
        all.passed
            && all
                .tests
                .iter()
                .all(|t| t.status == TestStatus::Skipped && t.message.as_deref() == Some("todo"))
    );
}

#[test]
fn the_filter_leaves_tests_out() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let mut job = job(dir.path(), "test('one', print) test('two', error)");
    job.selection = Arc::new(Selection::from(NameFilter {
        substring: Some("one".to_owned()),
        expression: None,
        ..NameFilter::default()
    }));
    assert_eq!(
        statuses(&run_file(&job, &silent())),
        [("one", TestStatus::Passed)]
    );
}

#[test]
fn what_no_test_is_behind_is_the_files_own_log() {
    assert_eq!(run("print('a', 1) print('b')").log, ["a\t1", "b"]);
    let kept = run("print('before') test('x', function() end)");
    assert_eq!(
        (kept.log.len(), &kept.tests[0].log),
        (0, &vec!["before".to_owned()])
    );
}

#[test]
fn a_file_without_a_test_says_so() {
    assert!(run("local x = 1").no_tests);
    assert!(run("").no_tests);
    for source in [
        "test('x', print)",
        "assert(true)",
        "todo()",
        "error('x')",
        "test('x', {slow = true}, print)",
    ] {
        assert!(!run(source).no_tests, "{source}");
    }
    let dir = tempfile::tempdir().expect("a temporary folder");
    let mut job = job(dir.path(), "test('one', {tags = 'net'}, print)");
    job.selection = Arc::new(Selection::from(NameFilter {
        substring: Some("two".to_owned()),
        ..NameFilter::default()
    }));
    let result = run_file(&job, &silent());
    assert!(
        result.tests.is_empty() && !result.no_tests,
        "it has one, which is left out"
    );
    let found = job.progress.tests();
    assert_eq!((found[0].name.as_str(), found[0].wanted), ("one", false));
    assert_eq!(found[0].labels["tags"], ["net"]);
}

#[test]
fn where_a_file_is_can_be_seen_from_outside() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let job = job(
        dir.path(),
        "test('x', function(t)\n  t:log(1)\n  local s = ('x'):rep(9)\nend)",
    );
    run_file(&job, &silent());
    assert_eq!(job.progress.line(), Some(2));
    let busy = "test('x', function(t)\n\n  for _ = 1, 100000 do end\nend)";
    std::fs::write(&job.path, busy).expect("a file");
    run_file(&job, &silent());
    assert_eq!(job.progress.line(), Some(3));
}

#[test]
fn a_failure_caught_by_the_body_counts() {
    let message = failure("pcall(function() t:assert_eq(1, 2, 'sum') end)");
    assert!(
        message.starts_with("values differ: sum\n  left:  1\n  right: 2"),
        "{message}"
    );
    assert!(
        message.contains("\n  (the body caught this failure; it counts all the same)\n  2 | pcall("),
        "{message}"
    );
    let message = failure("pcall(t.fail, t, 'first')\nerror('then this')");
    assert!(message.starts_with("then this"), "{message}");
    passes("t:assert_raises(function() t:assert(false) end)");
    passes("t:assert_raises(function() pcall(t.fail, t) error('x') end)");
}

#[test]
fn assert_raises_returns_the_error() {
    passes(
        r#"
        local err = t:assert_raises(function() error("text") end)
        t:assert_eq(err, "a.test.lua:3: text")
        local object = {}
        t:assert(t:assert_raises(function() error(object) end) == object)
        t:assert_eq(t:assert_raises(function() error() end), nil)
        local api = t:assert_raises(function() provium:vm(1) end)
        t:assert_eq(api, "a.test.lua:8: provium:vm: expected a string as name, got number")
        "#,
    );
    assert!(
        failure("t:assert_raises(function() end)")
            .starts_with("no error was raised\n  the function returned nothing")
    );
    assert!(
        failure("t:assert_raises(function() return 1, 'x' end, 'why')")
            .starts_with("no error was raised: why\n  the function returned: 1, \"x\"")
    );
}

#[test]
fn a_skip_inside_assert_raises_is_still_a_skip() {
    let result = run_body("t:assert_raises(function() t:skip('later') end)");
    assert_eq!(
        (result.status, result.message.as_deref()),
        (TestStatus::Skipped, Some("later"))
    );
}

#[test]
fn the_log_has_what_was_logged_and_printed() {
    let result = run(r#"
        print("at file scope")
        test("a", function(t)
            t:log("text")
            t:log({1, "two"})
            print("printed", 2, nil)
        end)
        test("b", function(t) end)
    "#);
    assert_eq!(
        result.tests[0].log,
        ["at file scope", "text", "{1, \"two\"}", "printed\t2\tnil"]
    );
    assert!(result.tests[1].log.is_empty());
    let failed = run("print('before')\nerror('x')");
    assert_eq!(failed.chunk_error.as_deref(), Some("a.test.lua:2: x\nbefore"));
}

#[test]
fn retries_make_a_flaky_test_pass_and_say_so() {
    let result = run(r#"
        local runs = 0
        test("flaky", {retries = 2}, function(t) runs = runs + 1 t:assert(runs == 3, "not yet") end)
        test("hopeless", {retries = 1}, function(t) error("never") end)
    "#);
    assert_eq!(
        statuses(&result),
        [("flaky", TestStatus::Passed), ("hopeless", TestStatus::Failed)]
    );
    assert_eq!(
        result.tests[0].message.as_deref(),
        Some("flaky: passed at attempt 3")
    );
    assert_eq!(result.tests[0].log.len(), 2);
    assert!(result.tests[0].log[0].starts_with("attempt 1 failed: assertion failed: not yet"));
}

#[test]
fn helpers_come_from_the_roots_and_the_project() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    std::fs::create_dir(dir.path().join("lib")).expect("a folder");
    std::fs::write(
        dir.path().join("lib/helper.lua"),
        "return {fail = function(t)\n t:fail('in helper') end}",
    )
    .expect("a file");
    std::fs::write(dir.path().join("data.lua"), "return ...").expect("a file");
    std::fs::write(dir.path().join("broken.lua"), "\n\nerror('here')").expect("a file");
    let source = r#"
        local helper = require("helper")
        test("dofile", function(t) t:assert_eq(dofile("data.lua"), nil) end)
        test("helper fails", function(t)
            helper.fail(t)
        end)
        test("broken", function(t)
            t:assert_contains(t:assert_raises(function() dofile("broken.lua") end), "broken.lua:3: here")
            t:assert_contains(t:assert_raises(function() dofile("absent.lua") end), "absent.lua")
        end)
    "#;
    let result = run_file(&job(dir.path(), source), &silent());
    assert_eq!(result.chunk_error, None);
    assert_eq!(
        statuses(&result),
        [
            ("dofile", TestStatus::Passed),
            ("helper fails", TestStatus::Failed),
            ("broken", TestStatus::Passed)
        ],
        "{result:?}"
    );
    // The line is the test's own, whoever called `t`.
    assert_eq!(result.tests[1].line, Some(5));
}

#[test]
fn a_test_cannot_end_the_process_or_use_an_old_t() {
    assert!(failure("os.exit(0)").starts_with("os.exit: a test cannot end the process"));
    let result =
        run("local kept\ntest('a', function(t) kept = t end)\ntest('b', function() kept:fail('x') end)");
    let message = result.tests[1].message.clone().expect("a message");
    assert!(
        message.starts_with("t:fail: this `t` belongs to test `a`, which is over"),
        "{message}"
    );
}

#[test]
fn coroutines_can_yield_through_pcall_and_fail_with_their_line() {
    passes(
        r#"
        local co = coroutine.wrap(function() return pcall(function() return coroutine.yield(1) + 1 end) end)
        t:assert_eq(co(), 1)
        t:assert_eq(select(2, co(41)), 42)
        "#,
    );
    let result = run_body("local co = coroutine.wrap(function()\n t:fail('inside')\nend)\nco()");
    assert_eq!(
        (result.status, result.line),
        (TestStatus::Failed, Some(3)),
        "{result:?}"
    );
}

#[test]
fn names_are_declared_once_and_found_again() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let mut job = job(dir.path(), "");
    std::fs::write(
        dir.path().join("provium.toml"),
        "[profiles.min]\nkernel = \"k\"\ncmdline = \"quiet\"\n",
    )
    .expect("a file");
    job.config =
        Arc::new(Config::load(None, dir.path(), &[], &Environment::default()).expect("a configuration"));
    let source = r#"
local shared = provium:vm("shared", "min")
test("lookups", function(t)
    t:assert(provium:vm("shared") == shared)
    t:assert(provium.shared == shared)
    t:assert_eq(provium.nothing, nil)
    t:assert_eq(shared:name(), "shared")
    t:assert_eq(shared:profile(), "min")
    t:assert_eq(shared:state(), "created")
    t:assert_eq(shared:cid(), nil)
    t:assert_eq(tostring(shared), "VM `shared` (created)")
    t:assert_eq(shared:console():read_log(), "")
    provium:vm("own", "min")
    t:assert_eq(provium:vm_names(), {"own"})
end)
test("the test's own are gone", function(t)
    t:assert_eq(provium:vm_names(), {})
    t:assert_eq(provium.own, nil)
    local again = provium:vm("own", "min")
    again:close()
    again:close()
    provium:vm("own", "min")
    t:assert_contains(t:assert_raises(function() again:run("x") end), "vm:run: VM `own` is closed")
end)
test("errors", function(t)
    local function raises(text, fn)
        t:assert_contains(t:assert_raises(fn), text)
    end
    raises("provium:vm: there is no VM `sharde` in this lab; did you mean `shared`?", function() provium:vm("sharde") end)
    raises("to declare it, give a profile", function() provium:vm("zzz") end)
    raises("did you mean `min`?", function() provium:vm("a", "mim") end)
    raises("provium:vm: the name `shared` is taken: the file declared it at file scope (a.test.lua:2)", function()
        provium:vm("shared", "min")
    end)
    provium:vm("twice", "min")
    raises("the name `twice` is taken (a.test.lua:35)", function() provium:vm("twice", "min") end)
    raises("`pack` is a reserved name", function() provium:vm("pack", "min") end)
    raises("unknown option `memry`; did you mean `memory`?", function() provium:vm("b", "min", {memry = "1G"}) end)
    raises("option `memory`: memory must be 64M to 64G, got 1M", function() provium:vm("b", "min", {memory = "1M"}) end)
    raises("option `cpus`: cpus must be 1 to 32, got 0", function() provium:vm("b", "min", {cpus = 0}) end)
    raises("option `boot_timeout`: `-1` is not a duration", function() provium:vm("b", "min", {boot_timeout = -1}) end)
    raises("expected a table of options, got string", function() provium:vm("b", "min", "1G") end)
    raises("vm:run: VM `shared` was not booted yet (state `created`): call vm:boot() first", function() shared:run("true") end)
    raises("vm:pause: VM `shared` was not booted yet (state `created`): call vm:boot() first", function() shared:pause() end)
    raises("vm:resume: VM `shared` was not booted yet (state `created`): call vm:boot() first", function() shared:resume() end)
    t:assert(shared:shutdown():kill() == shared and shared:state() == "created")
    raises("vm:reset: VM `shared` was not booted yet", function() shared:reset() end)
    raises("vm:run: expected a VM before the colon, got string (call it as `vm:run(…)`)", function() shared.run("true") end)
    raises("VM has no `rnu`; did you mean `run`?", function() shared:rnu("true") end)
    raises("VM has no field `memory` that can be set", function() shared.memory = 1 end)
    raises("provium has no setting `timeot`; did you mean `timeout`?", function() provium.timeot = 1 end)
    raises("provium has no setting `color`; there are `parallel`, `reset_between_tests`,", function() provium.color = 1 end)
    raises("provium.timeout: `x` is not a duration", function() provium.timeout = "x" end)
    raises("vm:boot: VM `shared` did not boot: ", function() shared:boot() end)
    t:assert_eq(shared:state(), "dead")
    raises("vm:run: VM `shared` is dead (it did not boot: ", function() shared:run("true") end)
    t:assert_eq(shared:shutdown():state(), "shutdown")
    raises("vm:run: VM `shared` is shutdown (it did not boot: ", function() shared:run("true") end)
end)
"#;
    std::fs::write(&job.path, source).expect("a file");
    let result = run_file(&job, &silent());
    assert_eq!(result.chunk_error, None);
    for test in &result.tests {
        assert_eq!(test.status, TestStatus::Passed, "{test:?}");
    }
    assert_eq!(result.tests.len(), 3);
}
