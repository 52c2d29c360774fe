//! Labs, barriers and claims, without a machine.

use provium_base::cancel::CancelReason;

use super::*;
use crate::session::pool::Account;

/// Runs a file of a project with the profile `min`; asserts that everything in it passes.
#[track_caller]
fn all_pass(source: &str) {
    let result = run_in_project(source);
    assert_eq!(result.chunk_error, None);
    for test in &result.tests {
        assert_eq!(test.status, TestStatus::Passed, "{test:?}");
    }
    assert!(!result.tests.is_empty());
}

#[test]
fn labs_have_members_by_name() {
    all_pass(
        r#"
test("members", function(t)
    local web, db = provium:vm("web", "min"), provium:vm("db", "min")
    local back = provium:lab("back")
    t:assert_eq(back:name(), "back")
    t:assert_eq(tostring(back), "Lab `back`")
    t:assert(provium:lab("back") == back and provium.back == back)
    local inner = back:vm("web", "min")
    t:assert(back.web == inner and provium.web == web and inner ~= web)
    t:assert_eq(back.db, nil)

    t:assert_eq(provium:lab():name(), "__lab_0")
    t:assert_eq(provium:lab():name(), "__lab_1")
    t:assert_eq(provium:vm_names(), {"web", "db"})
    t:assert_eq(provium:sub_lab_names(), {"back", "__lab_0", "__lab_1"})
    t:assert_eq(provium:bridge_names(), {})
    local members = provium:members()
    t:assert_eq({members[1]:kind(), members[3]:kind(), provium:kind()}, {"vm", "lab", "lab"})
    t:assert(members[1] == web and members[2] == db and members[3] == back and #members == 5)

    t:assert(back:include({db, provium.__lab_0}) == back)
    t:assert_eq(back:vm_names(), {"web", "db"})
    t:assert_eq(back:sub_lab_names(), {"__lab_0"})
    t:assert(back:remove("web") == back and back:remove(db) == back)
    t:assert_eq(back:vm_names(), {})
    t:assert_eq(inner:state(), "created")
    db:close()
    t:assert_eq(provium:vm_names(), {"web"})
    t:assert_eq(provium.db, nil)
end)
test("without machines the lab's calls do nothing", function(t)
    local lab = provium:lab("none")
    t:assert(lab:boot() == lab and lab:shutdown() == lab and lab:pause() == lab and lab:resume() == lab)
end)
"#,
    );
}

#[test]
fn names_are_taken_once() {
    all_pass(
        r#"
local shared, lab = provium:vm("shared", "min"), provium:lab("lab")
test("errors", function(t)
    local function raises(needle, fn, ...)
        t:assert_contains(t:assert_raises(function(...) fn(...) end), needle)
    end
    for _, name in ipairs({"pack", "unpack", "vm_fixture", "lab_fixture"}) do
        raises("provium:lab: `" .. name .. "` is a reserved name", function() provium:lab(name) end)
    end
    raises("declared it at file scope (a.test.lua:2); use provium:vm(\"shared\") for that VM",
        function() provium:lab("shared") end)
    raises("declared it at file scope (a.test.lua:2); use provium:vm(\"shared\") for that VM",
        function() provium:vm("shared", "min") end)
    raises("declared it at file scope (a.test.lua:2); use provium:lab(\"lab\") for that lab",
        function() provium:vm("lab", "min") end)
    raises("provium:lab: expected a string as name, got number", function() provium:lab(1) end)

    local own = provium:lab("own")
    own:include(shared)
    raises("provium:include: the name `shared` is taken (a.test.lua:", function() own:include(shared) end)
    local other = provium:lab("other"):vm("twin", "min")
    local twin = provium:lab("more"):vm("twin", "min")
    raises("the name `twin` is there twice", function() own:include({other, twin}) end)
    t:assert_eq(own:vm_names(), {"shared"})
    raises("lab `own` has this lab inside it, or is it", function() own:include(own) end)
    local deep = own:lab("deep")
    raises("lab `own` has this lab inside it, or is it", function() deep:include(own) end)
    raises("has this lab inside it, or is it", function() deep:include(provium) end)
    raises("expected a VM or a Lab, or an array of them, got string", function() own:include("shared") end)
    raises("expected an array of VMs and labs", function() own:include({vm = shared}) end)
    twin:close()
    raises("`twin` is closed", function() own:include(twin) end)

    raises("`sharde` is not a member of this lab; did you mean `shared`?", function() own:remove("sharde") end)
    raises("`twin` is not a member of this lab", function() own:remove(twin) end)
    raises("expected a VM, a Lab or the name of one, got nil", function() own:remove() end)
    raises("lab `own` has no settings; those of the file are set as `provium.timeout`",
        function() own.timeout = 1 end)
end)
"#,
    );
}

#[test]
fn what_a_test_does_to_labs_ends_with_it() {
    all_pass(
        r#"
local lab = provium:lab("lab")
local a, b, c = lab:vm("a", "min"), lab:vm("b", "min"), provium:vm("c", "min")
local leaked
test("first", function(t)
    lab:vm("mine", "min")
    provium:lab("temporary"):vm("x", "min")
    leaked = provium.temporary
    lab:include({c, leaked})
    lab:remove("a"):remove("c")
    lab:include(c)
    t:assert_eq(lab:vm_names(), {"b", "mine", "c"})
    t:assert_eq(provium:sub_lab_names(), {"temporary"})
end)
test("second", function(t)
    t:assert_eq(lab:vm_names(), {"a", "b"})
    t:assert_eq(lab:sub_lab_names(), {})
    t:assert_eq(provium:sub_lab_names(), {})
    t:assert_eq(leaked:members(), {})
    t:assert_contains(t:assert_raises(function() lab:include(leaked) end), "`temporary` is closed")
    t:assert_eq(lab:vm("mine", "min"):name(), "mine")
    t:assert(provium:lab("lab") == lab, "the test finds the file's")
end)
"#,
    );
}

#[test]
fn in_a_test_calls_about_all_mean_the_tests_own() {
    all_pass(
        r#"
local shared, lab = provium:vm("shared", "min"), provium:lab("lab")
lab:vm("inner", "min")
t_names, t_labs = provium:vm_names(), provium:sub_lab_names()
test("own", function(t)
    t:assert_eq({t_names, t_labs}, {{"shared"}, {"lab"}})
    t:assert_eq({provium:members(), provium:vm_names(), provium:sub_lab_names()}, {{}, {}, {}})
    -- Each of these fails for a VM that never booted.
    t:assert(provium:boot() == provium and provium:pause() == provium and provium:resume() == provium)
    t:assert_eq(shared:state(), "created")
    local own = provium:vm("own", "min")
    t:assert(#provium:members() == 1 and provium:members()[1] == own)
    t:assert_contains(t:assert_raises(function() provium:boot() end), "VM `own` did not boot")
    t:assert_eq({own:state(), shared:state()}, {"dead", "created"})
    t:assert_eq(provium:shutdown().own:state(), "shutdown")
    -- Look-ups walk up, and so does whoever names a lab of the file.
    t:assert(provium.shared == shared and provium:vm("shared") == shared and provium:lab("lab") == lab)
    t:assert_contains(t:assert_raises(function() provium:vm("shard") end), "did you mean `shared`?")
    t:assert_eq(lab:vm_names(), {"inner"})
    t:assert_contains(t:assert_raises(function() lab:pause() end), "VM `inner` was not booted yet")
end)
"#,
    );
}

#[test]
fn a_lab_without_a_vm_to_save_says_so() {
    all_pass(
        r#"
local shared = provium:vm("shared", "min")
local folder = os.tmpname()
os.remove(folder)
test("nothing", function(t)
    local function raises(needle, fn)
        t:assert_contains(t:assert_raises(fn), needle)
    end
    local lab = provium:lab("lab")
    raises("provium:snapshot: there is nothing to save: the lab has no VM", function() lab:snapshot() end)
    lab:lab("in"):vm("a", "min")
    lab:include(shared)
    raises("there is nothing to save: VM `in/a` is created, VM `shared` is created", function() lab:snapshot(folder) end)
    t:assert(not io.open(folder), "no folder is left")
end)
test("in a test", function(t)
    t:assert_contains(t:assert_raises(function() provium:snapshot() end), 'provium:lab("all"):include(')
end)
"#,
    );
}

#[test]
fn callers_leave_a_barrier_together() {
    all_pass(
        r#"
test("coroutines", function(t)
    local order = {}
    local function worker(name)
        return coroutine.create(function()
            for round = 1, 3 do
                provium:barrier("meet", 3)
                order[#order + 1] = name .. round
            end
        end)
    end
    local workers = {worker("a"), worker("b"), worker("c")}
    while coroutine.status(workers[1]) ~= "dead" or coroutine.status(workers[2]) ~= "dead"
        or coroutine.status(workers[3]) ~= "dead" do
        for _, co in ipairs(workers) do
            if coroutine.status(co) ~= "dead" then
                local ok, err = coroutine.resume(co)
                t:assert(ok, err)
            end
        end
    end
    -- Whoever leaves round N does so before anybody leaves round N + 1.
    for at, entry in ipairs(order) do
        t:assert_eq(entry:sub(2), tostring((at - 1) // 3 + 1), table.concat(order, " "))
    end
    t:assert_eq(#order, 9)
end)
test("the main code is a caller like others", function(t)
    local lab, passed = provium:lab(), false
    local co = coroutine.wrap(function() lab:barrier("x", 2) passed = true end)
    co()
    t:assert(not passed)
    lab:barrier("x", 2, 0)
    co()
    t:assert(passed)
    t:assert_eq(select('#', lab:barrier("x", 1)), 0)
end)
test("pcall and barriers of two labs", function(t)
    local one, two = provium:lab(), provium:lab()
    local co = coroutine.wrap(function() return pcall(one.barrier, one, "x", 2) end)
    co()
    t:assert_contains(t:assert_raises(function() two:barrier("x", 2, "1ms") end), "1 of 2")
    one:barrier("x", 2)
    t:assert_eq(co(), true)
end)
"#,
    );
}

#[test]
fn a_barrier_says_how_many_arrived() {
    let result = run_in_project(
        r#"
local waiting = coroutine.create(function() provium:barrier("between", 2) end)
test("timeout", function(t)
    local function raises(needle, fn) t:assert_contains(t:assert_raises(fn), needle) end
    raises("a.test.lua:6: provium:barrier: `b`: 1 of 2 callers arrived within 0.01s; nothing else of a file runs while "
        .. "code outside of a coroutine waits", function() provium:barrier("b", 2, "10ms") end)
    -- Whoever gave up is not counted any more.
    local co = coroutine.create(function() provium:barrier("b", 3, "20ms") end)
    t:assert(coroutine.resume(co))
    local late = coroutine.create(function() provium:barrier("b", 3) end)
    coroutine.resume(late)
    raises("1 of 2", function() provium:barrier("meanwhile", 2, "30ms") end)
    local ok, err = coroutine.resume(co)
    t:assert(not ok)
    t:assert_eq(err, "a.test.lua:8: provium:barrier: `b`: 2 of 3 callers arrived within 0.02s")
    t:assert(coroutine.close(late))
    raises("1 of 2 callers", function() provium:barrier("b", 2, 0) end)

    co = coroutine.create(function() provium:barrier("c", 2) end)
    coroutine.resume(co)
    raises("provium:barrier: `c` waits for 2 callers, and this one says 3", function() provium:barrier("c", 3) end)
    raises("the count: expected 1 or more, got 0", function() provium:barrier("c", 0) end)
    raises("the count: expected an integer, got string", function() provium:barrier("c", "2") end)
    raises("the timeout: `-1` is not a duration", function() provium:barrier("c", 2, -1) end)
    raises("expected a string as name, got nil", function() provium:barrier() end)

    coroutine.resume(waiting)
end)
test("a round ends with its test", function(t)
    t:assert_contains(t:assert_raises(function() provium:barrier("c", 2, 0) end), "1 of 2")
    local ok, err = coroutine.resume(waiting)
    t:assert(not ok)
    t:assert_contains(err, "`between`: the test that waited here has ended")
end)
test("a test's limit ends the wait", {timeout = "50ms"}, function(t)
    provium:barrier("for ever", 2)
end)
"#,
    );
    assert_eq!(
        statuses(&result),
        [
            ("timeout", TestStatus::Passed),
            ("a round ends with its test", TestStatus::Passed),
            ("a test's limit ends the wait", TestStatus::Failed),
        ],
        "{result:?}"
    );
    let message = result.tests[2].message.as_deref().expect("a message");
    assert!(
        message.starts_with("timed out after 0.05s, waiting in provium:barrier"),
        "{message}"
    );
}

#[test]
fn a_file_claims_once() {
    all_pass(
        r#"
local wrong = {
    [{}] = "provium:claim: expected `memory`, `cpus` or both",
    [{cpu = 1}] = "provium:claim: unknown option `cpu`; did you mean `cpus`?",
    [{cpus = -1}] = "option `cpus`: expected 0 or more, got -1",
    [{memory = "much"}] = "option `memory`: `much` is not a size",
    [{memory = "2G"}] = "2G of memory and 0 CPUs is more than this run has to give, which is 1G of memory and 4 CPUs",
    [{cpus = 5}] = "0 of memory and 5 CPUs is more than this run has to give",
}
for options, expected in pairs(wrong) do
    local ok, err = pcall(provium.claim, provium, options)
    assert(not ok and err:find(expected, 1, true), err)
end
assert(provium:claim({memory = "512M", cpus = 2}) == provium)
test("a second", function(t)
    t:assert_contains(t:assert_raises(function() provium:claim({cpus = 1}) end),
        "provium:claim: claim already taken (a.test.lua:14)")
end)
"#,
    );
}

#[test]
fn a_claim_waits_for_other_files_and_is_given_back() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let job = job(dir.path(), "provium:claim({cpus = 3})\ntest('a', function() end)");
    let held = Account::open(&job.pool, "b.test.lua", silent(), Cancel::new());
    let claimed = held.claim(Amount { memory: 0, cpus: 2 }, &Cancel::new());
    claimed.expect("it is free");
    std::thread::scope(|scope| {
        let first = scope.spawn(|| run_file(&job, &silent()));
        std::thread::sleep(std::time::Duration::from_millis(50));
        assert!(!first.is_finished());
        drop(held);
        assert!(first.join().expect("no panic").passed);
    });
    let all = Amount {
        memory: 1 << 30,
        cpus: 4,
    };
    let held = Account::open(&job.pool, "b.test.lua", silent(), Cancel::new());
    let claimed = held.claim(all, &Cancel::new());
    claimed.expect("the file gave its part back");
    std::thread::scope(|scope| {
        let second = scope.spawn(|| run_file(&job, &silent()));
        std::thread::sleep(std::time::Duration::from_millis(50));
        job.cancel.cancel(CancelReason::Interrupted);
        let error = second.join().expect("no panic").chunk_error;
        assert_eq!(
            error.as_deref(),
            Some("a.test.lua:1: interrupted, waiting in provium:claim")
        );
    });
    drop(held);
}
