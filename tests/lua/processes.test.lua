-- Programs that are left running, on a real guest. What needs no guest is tested beside the code.

provium.timeout = "120s"

local vm = provium:vm_fixture("base")

-- How many processes have this in their command lines.
local function running(text)
  local _, count = vm:run("ps"):assert_ok().stdout:gsub("[^\n]*" .. text .. "[^\n]*", "")
  return count
end

test("a pipe into its input", function(t)
  local proc = vm:run_async("cat")
  t:assert_eq(proc:stdin_write("hello\n"), 6)
  t:assert_eq(proc:stdin_write("world\n"), 6)
  proc:close_stdin()
  local r = proc:wait("20s")
  t:assert_eq({r.stdout, r.exit_code}, {"hello\nworld\n", 0})
  t:assert(r:assert_ok() == r)
end)

test("signals by name and number", function(t)
  for sig, number in pairs({term = 15, SIGKILL = 9, Int = 2, hup = 1, quit = 3, usr1 = 10, sigusr2 = 12, alrm = 14, pipe = 13}) do
    local by_name, by_number = vm:run_async("sleep", {"1000"}), vm:run_async("sleep", {"1000"})
    by_name:kill(sig)
    by_number:signal(number)
    for _, proc in ipairs({by_name, by_number}) do
      local r = proc:wait("20s")
      t:assert_eq({r.status, r.signal, r.exit_code}, {"signalled", number, -1}, sig)
    end
  end
end)

test("stopping, going on and looking", function(t)
  local proc = vm:run_async("sleep 1000")
  -- A shell that becomes its only command has no arguments for a moment.
  wait_until(function() return vm:read_file("/proc/" .. proc:pid() .. "/cmdline"):find("1000", 1, true) end)
  t:assert_eq(proc:status(), {running = true})
  proc:kill("stop")
  wait_until(function() return vm:read_file("/proc/" .. proc:pid() .. "/stat"):find(" T ", 1, true) end)
  proc:kill("cont")
  wait_until(function() return vm:read_file("/proc/" .. proc:pid() .. "/stat"):find(" S ", 1, true) end)
  t:assert_eq(proc:status().running, true)
  proc:kill()
  wait_until(function() return not proc:status().running end)
  t:assert_eq(proc:status(), {running = false, exit_code = -1, signal = 15})
  t:assert_eq(proc:wait().signal, 15)
end)

test("a wait that times out kills the whole group and keeps what was written", function(t)
  local proc = vm:run_async("echo early; sleep 7777 & sleep 7777")
  wait_until(function() return running("7777") >= 2 end)
  local r = proc:wait("300ms")
  t:assert_eq({r.status, r.exit_code, r.timed_out, r.stdout}, {"timed_out", -2, true, "early\n"})
  t:assert_eq(running("7777"), 0)
end)

test("much output waits for whoever wants it", function(t)
  local size = 40 << 20
  local proc = vm:run_async("head -c " .. size .. " /dev/zero; head -c 1000000 /dev/zero >&2; echo end")
  t:assert_eq(vm:run("echo meanwhile").stdout, "meanwhile\n")
  local r = proc:wait("60s")
  t:assert_eq({#r.stdout, #r.stderr, r.exit_code}, {size + 4, 1000000, 0})
  t:assert_eq(r.stdout:sub(-5), "\0end\n")
end)

test("output streams take nothing away", function(t)
  local proc = vm:run_async("echo one; echo two; echo err >&2; read line; echo got $line; seq 1 50000")
  local out, err = proc:stdout_stream(), proc:stderr_stream()
  t:assert_eq(out:read_until("two\n"), "one\ntwo\n")
  t:assert_eq(err:expect("err"), "err")
  proc:stdin_write("x\n")
  t:assert_eq(out:read_until("got "), "got ")
  local second = proc:stdout_stream()
  t:assert_eq(second:next():sub(1, 4), "one\n")
  local r = proc:wait("20s")
  t:assert_eq(r.stdout:sub(1, 14), "one\ntwo\ngot x\n")
  t:assert_eq(r.stdout:sub(-6), "50000\n")
  t:assert_eq(r.stderr, "err\n")
  t:assert_eq("one\ntwo\ngot " .. table.concat(out:drain(0.1)), r.stdout)
  t:assert(out:eof())
  t:assert_eq(table.concat(proc:stdout_stream():drain(0.1)), r.stdout)
end)

test("waiting for a text that does not come", function(t)
  local proc = vm:run_async("echo something else; sleep 1000")
  local err = t:assert_raises(function() proc:stdout_stream():read_until("ready", "200ms") end)
  t:assert_contains(err, 'read_until timed out waiting for `ready`; the last bytes were "something else\\n"')
  local done = vm:run_async("echo short")
  err = t:assert_raises(function() done:stdout_stream():expect("ready") end)
  t:assert_contains(err, "the stream ended while expect was waiting for `ready`")
end)

test("an open stream refuses the snapshot", function(t)
  local own = provium.fixture("base")
  local proc = own:run_async("echo before; read go; echo after")
  local out = proc:stdout_stream()
  out:expect("before")
  t:assert_eq({own:open_stream_count(), own:is_quiescent()}, {1, false})
  local err = t:assert_raises(function() own:snapshot() end)
  t:assert_contains(err, "proc_stdout_stream of process " .. proc:handle())
  t:assert_contains(err, "processes.test.lua:" .. out:creation_site().line)
  out:close()
  local snapshot = own:snapshot()
  -- The process lives on: in the guest that was saved, and in the one that comes out of it.
  proc:stdin_write("x\n")
  t:assert_eq(proc:wait("20s").stdout, "before\nafter\n")
  t:assert_eq({own:open_stream_count(), own:is_quiescent()}, {0, true})
  own:shutdown()
  own:restore(snapshot)
  t:assert_eq(proc:status(), {running = true})
  proc:stdin_write("x\n")
  t:assert_eq(proc:wait("20s").stdout, "before\nafter\n")
  local late = own:run_async("sleep 1000")
  own:shutdown()
  own:restore(snapshot)
  t:assert_contains(t:assert_raises(function() late:status() end), "the guest of then is gone")
  late:close()
end)

test("a hundred programs are left", function(t)
  for at = 1, 100 do
    -- One in ten does not care for SIGTERM, and one in ten has children.
    local trap = at % 10 == 0 and "trap '' TERM;" or ""
    local child = at % 10 == 5 and "sleep 4242 &" or ""
    vm:run_async(trap .. child .. " while :; do sleep 4242; done")
  end
  wait_until(function() return running("4242") >= 110 end)
end)

test("none of them is there any more", function(t)
  t:assert_eq(running("4242"), 0)
  t:assert(vm:is_quiescent())
end)
