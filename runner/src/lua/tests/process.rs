//! Processes from Lua, against the real agent on this host, without a machine around it.

use super::remote::all_pass;

#[test]
fn processes() {
    all_pass(
        r#"
        test("input, output and end", function(t)
            local proc = vm:run_async("cat; echo err >&2", {stdin = "first\n"})
            t:assert_eq(proc:status(), {running = true})
            t:assert_eq(proc:stdin_write("hello\n"), 6)
            t:assert_eq(proc:stdin_write("world\n"), 6)
            proc:close_stdin()
            proc:close_stdin()
            t:assert_contains(t:assert_raises(function() proc:stdin_write("x") end), "proc:stdin_write: standard input is closed")
            local r = proc:wait("20s")
            t:assert_eq({r.stdout, r.stderr, r.exit_code, r.status}, {"first\nhello\nworld\n", "err\n", 0, "exited"})
            t:assert(r.duration > 0)
            t:assert(proc:wait() == r)
            t:assert_eq(proc:status(), {running = false, exit_code = 0})
            t:assert(math.type(proc:pid()) == "integer" and math.type(proc:handle()) == "integer")
            proc:kill()
            proc:signal("usr1")
            proc:close()
            t:assert(proc:wait(1) == r)
            t:assert_eq(tostring(proc), "Process `cat; echo err >&2` (pid " .. proc:pid() .. ") of VM `a`")
        end)
        test("signals", function(t)
            for _, case in ipairs({{nil, 15}, {9, 9}, {"kill", 9}, {"SIGINT", 2}, {"Usr1", 10}, {"sigHUP", 1}}) do
                local proc = vm:run_async("sleep", {"1000"})
                proc:kill(case[1])
                local r = proc:wait(20)
                t:assert_eq({r.exit_code, r.status, r.signal}, {-1, "signalled", case[2]})
                t:assert_eq(proc:status(), {running = false, exit_code = -1, signal = case[2]})
            end
            local proc = vm:run_async("trap 'echo got it' USR2; echo ready; while :; do sleep 0.05; done")
            proc:stdout_stream():expect("ready")
            proc:signal("usr2")
            proc:stdout_stream():expect("got it")
            proc:kill("stop")
            t:assert_eq(proc:status().running, true)
            proc:close()
            t:assert_eq(proc:status(), {running = false})
            t:assert_contains(t:assert_raises(function() proc:wait() end), "the process was closed")
        end)
        test("timeouts", function(t)
            local proc = vm:run_async("echo early; sleep 1000")
            local r = proc:wait("300ms")
            t:assert_eq({r.exit_code, r.status, r.timed_out, r.stdout}, {-2, "timed_out", true, "early\n"})
            t:assert_eq(proc:status(), {running = false, exit_code = -2})
            for _, zero in ipairs({0, "0s", 0.0}) do
                local err = t:assert_raises(function() vm:run_async("true"):wait(zero) end)
                t:assert_contains(err, "use proc:status() to look without waiting")
            end
        end)
        test("errors", function(t)
            local proc = vm:run_async("sleep 1000")
            local function raises(text, fn) t:assert_contains(t:assert_raises(fn), text) end
            raises("proc:kill: unknown signal name `trem`", function() proc:kill("trem") end)
            raises("unknown signal name `sigfoo`", function() proc:signal("sigfoo") end)
            raises("proc:kill: expected a signal (a name or a number), got table", function() proc:kill({}) end)
            raises("proc:kill: 65 is no signal", function() proc:kill(65) end)
            raises("proc:signal: expected a signal (a name or a number), got nil", function() proc:signal() end)
            raises("proc:wait: timeout: `soon` is not a duration", function() proc:wait("soon") end)
            raises("proc:wait: timeout: `-1` is not a duration", function() proc:wait(-1) end)
            raises("expected a string to write, got number", function() proc:stdin_write(1) end)
            raises("No such file", function() vm:run_async("no-such-program", {args = {}}) end)
        end)
        test("what a test leaves is ended with it", function(t)
            left = {}
            for at = 1, 20 do left[at] = vm:run_async("sleep 1000"):pid() end
            for at = 1, 4 do left[20 + at] = vm:run_async("trap '' TERM; while :; do sleep 0.1; done"):pid() end
            started = os.time()
        end)
        test("all of it, at once", function(t)
            t:assert(os.time() - started < 6, os.time() - started)
            for _, pid in ipairs(left) do
                t:assert_eq(vm:syscall(62, pid, 0).errno, 3)
            end
        end)
        "#,
    );
}
