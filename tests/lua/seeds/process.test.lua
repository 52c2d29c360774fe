-- "Process", sentence by sentence.

local vm = provium:vm_fixture("seeds/base")

test("constructed by the VM and by a worker", function(t)
  t:assert_eq(tostring(vm:run_async("true")):match("^Process") ~= nil, true)
  local worker = vm:spawn_worker()
  local proc = worker:run_async("echo from the worker")
  t:assert_eq(proc:wait("5s").stdout, "from the worker\n")
end)

test("the agent does not kill it by itself", function(t)
  local proc = vm:run_async("sleep 2; echo lived")
  vm:run("sleep 1")
  t:assert_eq(proc:status().running, true)
  t:assert_eq(proc:wait("20s").stdout, "lived\n")
end)

test("timeout keys are rejected with a pointer", function(t)
  local worker = vm:spawn_worker()
  for what, object in pairs({["vm:run_async"] = vm, ["worker:run_async"] = worker}) do
    for _, key in ipairs({"timeout", "timeout_ms"}) do
      local err = t:assert_raises(function() object:run_async("true", {[key] = 1}) end)
      t:assert_contains(err, what)
      t:assert_contains(err, "proc:wait")
    end
  end
end)

test("stdin: initial bytes, then more", function(t)
  local proc = vm:run_async("cat", {stdin = "first\n"})
  t:assert_eq(proc:stdin_write("second\n"), 7)
  proc:close_stdin()
  t:assert_eq(proc:wait("5s").stdout, "first\nsecond\n")
end)

test("wait: for ever, seconds, strings", function(t)
  for _, limit in ipairs({60, 60.5, "60s", "60000ms", "5m", "2h"}) do
    t:assert_eq(vm:run_async("exit 3"):wait(limit).exit_code, 3)
  end
  t:assert_eq(vm:run_async("exit 3"):wait().exit_code, 3)
  t:assert_eq(vm:run_async("exit 3"):wait(nil).exit_code, 3)
  local err = t:assert_raises(function() vm:run_async("true"):wait({}) end)
  t:assert_contains(err, "table")
end)

test("wait(0) is rejected with a pointer to status", function(t)
  local proc = vm:run_async("sleep 100")
  local err = t:assert_raises(function() proc:wait(0) end)
  t:assert_contains(err, "wait")
  t:assert_contains(err, "status()")
  t:assert_eq(proc:status().running, true)
end)

test("after wait the process is consumed, and other calls still work", function(t)
  local proc = vm:run_async("echo out; exit 6")
  local pid = proc:pid()
  local first = proc:wait("5s")
  t:assert_eq({first.exit_code, first.stdout}, {6, "out\n"})
  t:assert_eq(proc:status().running, false)
  t:assert_eq(proc:status().exit_code, 6)
  t:assert_eq(proc:pid(), pid)
  t:assert_eq(math.type(proc:handle()), "integer")
  proc:kill()
  proc:close()
  proc:close()
end)

test("close after wait does not kill again", function(t)
  -- The number of the consumed process is given to nobody by close.
  local proc = vm:run_async("true")
  proc:wait("5s")
  local other = vm:run_async("sleep 100")
  proc:close()
  t:assert_eq(other:status().running, true)
end)

test("kill with nothing, a number, a name", function(t)
  local function signal_of(...)
    local proc = vm:run_async("exec sleep 100")
    proc:kill(...)
    return proc:wait("5s").signal
  end
  t:assert_eq(signal_of(), 15)
  t:assert_eq(signal_of(nil), 15)
  for _, case in ipairs({{15, "term", "sigterm"}, {9, "kill", "sigkill"}, {2, "int", "sigint"}, {1, "hup", "sighup"},
    {3, "quit", "sigquit"}, {10, "usr1", "sigusr1"}, {12, "usr2", "sigusr2"}, {14, "alrm", "sigalrm"}, {13, "pipe", "sigpipe"}}) do
    local number, name, long = table.unpack(case)
    t:assert_eq(signal_of(number), number)
    t:assert_eq(signal_of(name), number)
    t:assert_eq(signal_of(long:upper()), number)
  end
end)

test("an unknown name", function(t)
  local proc = vm:run_async("sleep 100")
  for _, call in ipairs({"kill", "signal"}) do
    local err = t:assert_raises(function() proc[call](proc, "sigfoo") end)
    t:assert_contains(err, "unknown signal name `sigfoo`")
    t:assert_contains(err, "seeds/process.test.lua")
  end
  t:assert_eq(proc:status().running, true)
end)

test("stop and cont", function(t)
  local proc = vm:run_async("exec sleep 100")
  local function state() return vm:read_file("/proc/" .. proc:pid() .. "/stat"):match("%) (%a)") end
  proc:signal("stop")
  wait_until(function() return state() == "T" end)
  proc:signal("sigcont")
  wait_until(function() return state() ~= "T" end)
end)

test("pid is the kernel's, handle the agent's", function(t)
  local proc = vm:run_async("echo $$; exec sleep 100")
  local out = proc:stdout_stream()
  t:assert_eq(tonumber(out:expect("\n", "5s")), proc:pid())
  local handle = proc:handle()
  proc:kill("kill")
  proc:wait("5s")
  t:assert_eq(proc:handle(), handle)
end)

test("status does not wait", function(t)
  local proc = vm:run_async("read line; exit 9")
  t:assert_eq(proc:status().running, true)
  t:assert_eq(proc:status().exit_code, nil)
  proc:stdin_write("go\n")
  wait_until(function() return not proc:status().running end)
  t:assert_eq(proc:status().exit_code, 9)
  local killed = vm:run_async("sleep 100")
  killed:kill("kill")
  wait_until(function() return not killed:status().running end)
  t:assert_eq(killed:status().signal, 9)
end)

test("stdin_write after close_stdin", function(t)
  local proc = vm:run_async("cat; sleep 100")
  proc:close_stdin()
  local err = t:assert_raises(function() proc:stdin_write("late") end)
  t:assert_contains(err, "stdin")
  t:assert_contains(err, "closed")
end)

test("streams of both outputs, read as they come", function(t)
  local proc = vm:run_async("for n in 1 2 3; do echo out $n; echo err $n >&2; read line; done")
  local out, err = proc:stdout_stream(), proc:stderr_stream()
  for n = 1, 3 do
    t:assert_eq(out:expect("out " .. n .. "\n", "5s"), "out " .. n .. "\n")
    t:assert_eq(err:expect("err " .. n .. "\n", "5s"), "err " .. n .. "\n")
    proc:stdin_write("next\n")
  end
  local r = proc:wait("5s")
  -- Reading a stream takes nothing away from the result.
  t:assert_eq(r.stdout, "out 1\nout 2\nout 3\n")
  t:assert_eq(r.stderr, "err 1\nerr 2\nerr 3\n")
  t:assert_eq(out:next("5s"), nil)
  t:assert_eq(out:eof(), true)
end)

test("a lot of output, consumed in pieces", function(t)
  local proc = vm:run_async("head -c 40000000 /dev/zero | tr '\\0' x")
  local out, seen = proc:stdout_stream(), 0
  while true do
    local piece = out:next("20s")
    if not piece then break end
    seen = seen + #piece
  end
  t:assert_eq(seen, 40000000)
  t:assert_eq(#proc:wait("20s").stdout, 40000000)
end)

test("an open stream names itself when a snapshot is refused", function(t)
  local proc = vm:run_async("sleep 100")
  local out = proc:stdout_stream()
  local err = t:assert_raises(function() vm:snapshot() end)
  t:assert_contains(err, "seeds/process.test.lua")
  t:assert_contains(err, "proc_stdout_stream")
  t:assert_contains(err, tostring(proc:handle()))
  out:close()
  vm:snapshot():delete()
end)

test("close: SIGTERM, then SIGKILL after 2 seconds", function(t)
  vm:write_file("/tmp/trap.sh", "trap 'echo term > /tmp/termed; exit 0' TERM; echo up; while :; do sleep 0.1; done\n")
  local polite = vm:run_async("sh", {args = {"/tmp/trap.sh"}})
  polite:stdout_stream():expect("up", "5s")
  polite:close()
  t:assert_eq(vm:read_file("/tmp/termed"), "term\n")
  local stubborn = vm:run_async("trap '' TERM; echo up; while :; do sleep 0.1; done")
  stubborn:stdout_stream():expect("up", "5s")
  local pid, before = stubborn:pid(), vm:uptime()
  stubborn:close()
  local took = vm:uptime() - before
  t:assert(took >= 1.5 and took < 20, took)
  t:assert_raises(function() vm:stat("/proc/" .. pid) end)
end)

test("server emits ready then handles request", function(t)
    local proc = vm:run_async("python3", {args = {"server.py"}})
    local out  = proc:stdout_stream()

    -- Wait for the server to log "ready".
    out:expect("ready", "30s")

    -- Now hit it.
    local r = vm:run("curl -s http://localhost:8080/")
    r:assert_ok()
    t:assert(r.stdout:find("hello"))

    -- Tear down. Inside the test scope this happens automatically;
    -- here we just demonstrate it works explicitly too.
    proc:kill("term")
    local exit = proc:wait("2s")
    t:assert(exit.signal == 15 or exit.exit_code == 0)
end)
