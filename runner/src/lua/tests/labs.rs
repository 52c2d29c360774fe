//! Labs, claims and barriers, metadata: what needs no guest.

use super::*;

fn run_with_profile(filter: NameFilter, source: &str) -> FileResult {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let profile = "[profiles.min]\nkernel = \"none\"\ncmdline = \"quiet\"\n";
    std::fs::write(dir.path().join("provium.toml"), profile).expect("a file");
    let mut job = job(dir.path(), source);
    job.filter = Arc::new(filter);
    job.config =
        Arc::new(Config::load(None, dir.path(), &[], &Environment::default()).expect("a configuration"));
    run_file(&job, &silent())
}

#[track_caller]
fn all_pass(source: &str) {
    let result = run_with_profile(NameFilter::default(), source);
    assert!(result.passed && !result.tests.is_empty(), "{result:?}");
}

#[test]
fn labs_hold_vms_and_labs_by_name() {
    all_pass(
        r##"
        local vm = provium:vm("v", "min")
        local inner, other = provium:lab("inner"), provium:lab()
        test("members", function(t)
            t:assert_eq(provium:sub_lab_names(), {"inner", "__lab_0"})
            t:assert_eq(provium:vm_names(), {"v"})
            t:assert_eq(provium:bridge_names(), {})
            t:assert_eq({inner:name(), other:name(), tostring(inner)}, {"inner", "__lab_0", "Lab `inner`"})
            t:assert(provium.inner == inner and provium.v == vm and provium.none == nil)
            local members = provium:members()
            t:assert(#members == 3 and members[1] == vm and members[2] == inner)
        end)
        test("include and remove", function(t)
            t:assert(inner:include(vm) == inner)
            t:assert(inner.v == vm and inner:vm("v") == vm)
            t:assert(inner:remove(vm) == inner)
            t:assert(inner.v == nil and provium.v == vm and vm:state() == "created")
            inner:include({vm, other})
            t:assert_eq(inner:sub_lab_names(), {"__lab_0"})
            inner:remove("v"):remove(other)
            t:assert_eq(#inner:members(), 0)
        end)
        test("scopes", function(t)
            local own = inner:lab("own")
            own:vm("w", "min")
            t:assert(inner.own == own)
        end)
        test("what a test made is gone", function(t)
            t:assert(inner.own == nil)
            t:assert_eq(#inner:members(), 0)
        end)
        test("a closed member is none", function(t)
            local gone = provium:vm("gone", "min")
            inner:include(gone)
            gone:close()
            t:assert(inner.gone == nil and provium.gone == nil)
            provium:vm("gone", "min")
        end)
        "##,
    );
}

#[test]
fn what_a_lab_refuses_is_said() {
    let setup = "local vm, inner = provium:vm('v', 'min'), provium:lab('inner')\n\
                 local deep = inner:lab('deep')\n";
    for (body, expected) in [
        (
            "provium:lab('inner')",
            "provium:lab: the name `inner` is taken (a.test.lua:1)",
        ),
        ("provium:lab('pack')", "provium:lab: `pack` is a reserved name"),
        (
            "provium:vm('vm_fixture', 'min')",
            "provium:vm: `vm_fixture` is a reserved name",
        ),
        ("provium:include(vm)", "provium:include: the name `v` is taken"),
        (
            "inner:include({vm, vm})",
            "provium:include: the name `v` is there twice",
        ),
        (
            "inner:include(inner)",
            "provium:include: lab `inner` has this lab inside it, or is it",
        ),
        (
            "deep:include(inner)",
            "provium:include: lab `inner` has this lab inside it, or is it",
        ),
        (
            "inner:include(7)",
            "provium:include: expected a VM or a Lab, or an array of them, got number",
        ),
        (
            "inner:remove(vm)",
            "provium:remove: `v` is not a member of this lab",
        ),
        (
            "inner:remove({})",
            "provium:remove: expected a VM, a Lab or the name of one, got table",
        ),
        (
            "provium:claim{}",
            "provium:claim: expected `memory`, `cpus` or both",
        ),
        (
            "provium:claim{cpus = -1}",
            "provium:claim: option `cpus`: expected 0 or more, got -1",
        ),
        (
            "provium:claim{cpus = 5}",
            "provium:claim: 5 CPUs is more than the whole pool, which has 4",
        ),
        (
            "provium:claim{memory = '2G'}",
            "provium:claim: 2048 MiB of memory is more than the whole pool, which has 1024 MiB",
        ),
        (
            "provium:claim{cpus = 1}:claim{cpus = 1}",
            "provium:claim: claim already taken",
        ),
        (
            "provium:barrier('b', 0)",
            "provium:barrier: the count: expected 1 or more, got 0",
        ),
        (
            "provium:barrier('b', 3, 0.05)",
            "provium:barrier: `b`: 1 of 3 arrived within 0.05s",
        ),
        (
            "coroutine.wrap(function() provium:barrier('b', 3) end)() provium:barrier('b', 2)",
            "provium:barrier: `b` waits for 3 callers, and this one says 2",
        ),
        (
            "test('a', print) test('a', print)",
            "test: duplicate name `a` in this file",
        ),
        (
            "wait_until(function() end, {timeout = '20ms', desc = 'the thing'})",
            "wait_until: the thing not met within 0.02s",
        ),
        ("wait_until(function() error('mine', 0) end)", "mine"),
        (
            "test('x', {slow = 1}, print)",
            "test: metadata `slow`: expected true or false, got number",
        ),
        (
            "test('x', {tags = {1}}, print)",
            "test: metadata `tags`: expected an array of strings",
        ),
        (
            "test('x', {spec = true}, print)",
            "test: metadata `spec`: expected a string or an array of strings, got boolean",
        ),
        (
            "test('x', {mine = print}, print)",
            "test: metadata `mine`: expected a string, a number, true, false or a table, got function",
        ),
        (
            "test('x', {'net'}, print)",
            "test: metadata: expected names as keys, got the key 1; write {tags = {\"a\", \"b\"}}",
        ),
    ] {
        let result = run_with_profile(NameFilter::default(), &format!("{setup}{body}"));
        let error = result.chunk_error.unwrap_or_default();
        let error = error.strip_prefix("a.test.lua:3: ").unwrap_or(&error);
        assert!(error.starts_with(expected), "{body}: {error}");
    }
}

#[test]
fn a_claim_ends_with_its_file() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let job = job(
        dir.path(),
        "test('x', function() provium:claim{memory = '1G', cpus = 4} end)",
    );
    // The second would wait for ever if the first did not end.
    for _ in 0..2 {
        let result = run_file(&job, &silent());
        assert!(result.passed, "{result:?}");
    }
}

#[test]
fn coroutines_meet_at_a_barrier() {
    all_pass(
        r##"
        test("two rounds", function(t)
            local passed = {}
            local function walker(name)
                return coroutine.create(function()
                    for round = 1, 2 do
                        provium:barrier("meet", 3)
                        passed[#passed + 1] = round
                    end
                end)
            end
            local walkers = {walker("a"), walker("b")}
            local function step()
                for _, walker in ipairs(walkers) do assert(coroutine.resume(walker)) end
            end
            step()
            step()
            t:assert_eq(#passed, 0)
            provium:barrier("meet", 3)
            step()
            t:assert_eq(passed, {1, 1})
            provium:barrier("meet", 3)
            step()
            t:assert_eq(passed, {1, 1, 2, 2})
        end)
        test("a coroutine's time runs out", function(t)
            local walker = coroutine.create(function() provium:barrier("late", 2, 0.02) end)
            local ok, err = true, nil
            wait_until(function()
                ok, err = coroutine.resume(walker)
                return not ok
            end, {interval = 0.01})
            t:assert_contains(err, "`late`: 1 of 2 arrived within 0.02s")
        end)
        "##,
    );
}

#[test]
fn tests_are_chosen_by_their_metadata() {
    let source = r##"
        test("plain", print)
        test("slow", {slow = true, tags = "net"}, print)
        test("tagged", {tags = {"net", "fast"}, spec = "4.2"}, print)
        test("own", {area = "fs", level = 3, list = {"x", "y"}}, print)
    "##;
    let chosen = |with: &[&str], without: &[&str], include_slow| {
        let parse = |texts: &[&str]| {
            texts
                .iter()
                .map(|text| text.parse().expect("KEY=VALUE"))
                .collect()
        };
        let filter = NameFilter {
            with: parse(with),
            without: parse(without),
            include_slow,
            ..NameFilter::default()
        };
        let result = run_with_profile(filter, source);
        let tests = result.tests.iter();
        tests
            .map(|test| format!("{} {:?}", test.name, test.status))
            .collect::<Vec<_>>()
    };
    assert_eq!(
        chosen(&[], &[], false),
        ["plain Passed", "slow Skipped", "tagged Passed", "own Passed"]
    );
    assert_eq!(chosen(&["tags=net"], &[], true), ["slow Passed", "tagged Passed"]);
    assert_eq!(chosen(&["tags=net"], &["tags=fast"], false), ["slow Skipped"]);
    assert_eq!(chosen(&["spec=4.2"], &[], false), ["tagged Passed"]);
    assert_eq!(chosen(&["level=3", "list=y"], &[], false), ["own Passed"]);
    assert_eq!(chosen(&["slow=true"], &[], false), ["slow Skipped"]);
}
