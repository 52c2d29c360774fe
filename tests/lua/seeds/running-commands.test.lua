-- "Running commands inside the guest", sentence by sentence.

provium.reset_between_tests = true
local vm = provium:vm_fixture("seeds/base")

test("run returns a RunResult with every field", function(t)
  local r = vm:run("echo hello")
  r:assert_ok()
  t:assert_eq(r.stdout, "hello\n")
  t:assert_eq(r.stderr, "")
  t:assert_eq(r.exit_code, 0)
  t:assert_eq(r.status, "exited")
  t:assert_eq(r.signal, nil)
  t:assert_eq(r.timed_out, false)
  t:assert_eq(math.type(r.exit_code), "integer")
end)

test("shell form", function(t)
  t:assert_eq(vm:run("echo hello | tr a-z A-Z").stdout, "HELLO\n")
  local listed = vm:run("ls /etc/*.conf | head -3"):assert_ok().stdout
  t:assert_eq(select(2, listed:gsub("\n", "")), 3)
  -- It is /bin/sh that runs it.
  t:assert_eq(vm:run("echo $0").stdout, "/bin/sh\n")
end)

test("direct exec, canonical and legacy", function(t)
  t:assert_eq(vm:run("echo", {args = {"hello"}}).stdout, "hello\n")
  t:assert_eq(vm:run("echo", {"hello"}).stdout, "hello\n")
  -- Metacharacters are left alone.
  t:assert_eq(vm:run("echo", {args = {"$HOME", "*", "a  b", "'", "|"}}).stdout, "$HOME * a  b ' |\n")
  t:assert_eq(vm:run("echo", {"$(id)", ";ls"}).stdout, "$(id) ;ls\n")
  -- No shell in the tree: the program's parent is the agent itself.
  local parent = vm:run("python3", {args = {"-c", "import os; print(open(f'/proc/{os.getppid()}/comm').read().strip())"}})
  t:assert_contains(parent:assert_ok().stdout, "provium")
end)

test("any non-array key means opts; a pure array means arguments", function(t)
  for key, value in pairs({env = {A = "1"}, cwd = "/", stdin = "x", timeout = "5s", timeout_ms = 5000, env_clear = false}) do
    -- With opts and without args the string stays a line for the shell.
    t:assert_eq(vm:run("echo a | tr a b", {[key] = value}).stdout, "b\n", key)
  end
  t:assert_eq(vm:run("echo", {args = {}}).stdout, "\n")
  t:assert_eq(vm:run("echo", {}).stdout, "\n")
  local err = t:assert_raises(function() vm:run("echo", {"x", args = {"y"}}) end)
  t:assert_contains(err, "vm:run")
  t:assert_contains(err, "args")
end)

test("env, cwd, stdin", function(t)
  t:assert_eq(vm:run("printenv FOO", {env = {FOO = "bar"}}).stdout, "bar\n")
  t:assert_eq(vm:run("ls", {cwd = "/etc"}).stdout, vm:run("ls /etc").stdout)
  t:assert_eq(vm:run("cat", {stdin = "hello\n"}).stdout, "hello\n")
end)

test("combined freely", function(t)
  local r = vm:run("python3 -c 'import os, sys; print(os.environ[\"X\"], file=sys.stderr); print(sys.stdin.read())'", {
    env  = {X = "from-env"},
    stdin = "from-stdin\n",
  })
  r:assert_ok()
  t:assert_eq(r.stderr, "from-env\n")
  -- print adds a newline of its own to what came with one.
  t:assert_eq(r.stdout, "from-stdin\n\n")
end)

test("env_clear shows only the given keys, without it they are merged", function(t)
  local clear = vm:run("env", {env = {PATH = "/usr/bin"}, env_clear = true})
  local only = {}
  for line in clear:assert_ok().stdout:gmatch("[^\n]+") do
    -- Variables that a shell sets by itself are not the agent's.
    if not line:match("^PWD=") and not line:match("^OLDPWD=") and not line:match("^_=") and not line:match("^SHLVL=") then
      only[#only + 1] = line
    end
  end
  t:assert_eq(only, {"PATH=/usr/bin"})
  local direct = vm:run("/usr/bin/env", {args = {}, env = {PATH = "/usr/bin"}, env_clear = true})
  t:assert_eq(direct.stdout, "PATH=/usr/bin\n")
  local merged = vm:run("env", {env = {FOO = "bar"}}).stdout
  t:assert_contains(merged, "FOO=bar\n")
  t:assert_contains(merged, "PATH=")
  t:assert_contains(merged, "HOME=")
end)

test("every form of a timeout", function(t)
  for _, limit in ipairs({{timeout_ms = 500}, {timeout = 0.5}, {timeout = "500ms"}}) do
    local r = vm:run("sleep 100", limit)
    t:assert_eq({r.status, r.timed_out, r.exit_code}, {"timed_out", true, -2})
    t:assert_eq(r.signal, nil)
    t:assert(r.duration >= 0.4 and r.duration < 30, r.duration)
  end
  for _, limit in ipairs({"5s", "1m", "1h"}) do
    t:assert_eq(vm:run("true", {timeout = limit}).status, "exited")
  end
  for _, wrong in ipairs({"fast", "-1s", "5 parsecs", "", -1, 0 / 0, 1 / 0}) do
    local err = t:assert_raises(function() vm:run("true", {timeout = wrong}) end)
    t:assert_contains(err, "vm:run")
    t:assert_contains(err, "timeout")
    if type(wrong) == "string" then t:assert_contains(err, wrong) end
  end
end)

test("timed_out tells a timeout from a program that returns -2", function(t)
  -- No program can: exit codes are 0 to 255. What a shell makes of -2 is 254.
  local r = vm:run("python3 -c 'import os; os._exit(-2 & 0xff)'")
  t:assert_eq({r.exit_code, r.timed_out, r.status}, {254, false, "exited"})
  local slow = vm:run("flaky() { sleep 100; }; flaky", {timeout = "300ms"})
  t:assert(slow.timed_out)
  t:assert(not slow:ok())
end)

test("a timeout kills, and keeps what was written", function(t)
  local r = vm:run("echo early; echo wrong >&2; sleep 4242", {timeout = "500ms"})
  t:assert_eq({r.stdout, r.stderr}, {"early\n", "wrong\n"})
  wait_until(function() return not vm:run("pgrep -f '[s]leep 4242'"):ok() end, {timeout = "5s", desc = "the sleep to be gone"})
end)

test("signals in a result", function(t)
  local r = vm:run("kill -TERM $$")
  t:assert_eq({r.exit_code, r.status, r.signal, r.timed_out}, {-1, "signalled", 15, false})
  t:assert(not r:ok())
end)

test("assert_ok says status, stdout, stderr and the signal's name", function(t)
  local failed = t:assert_raises(function() vm:run("echo out; echo err >&2; exit 3"):assert_ok() end)
  for _, part in ipairs({"exited", "3", "out", "err"}) do t:assert_contains(failed, part) end
  local killed = t:assert_raises(function() vm:run("kill -KILL $$"):assert_ok() end)
  t:assert_contains(killed, "signalled")
  t:assert_contains(killed, "SIGKILL")
  local slow = t:assert_raises(function() vm:run("sleep 9", {timeout = "200ms"}):assert_ok() end)
  t:assert_contains(slow, "timed_out")
end)

test("stdout and stderr are bytes, whatever and however many", function(t)
  local bytes = vm:run("python3 -c 'import sys; sys.stdout.buffer.write(bytes(range(256))); sys.stderr.buffer.write(bytes([0,255,10]))'")
  local all = {}
  for byte = 0, 255 do all[#all + 1] = string.char(byte) end
  t:assert(bytes.stdout == table.concat(all))
  t:assert(bytes.stderr == "\0\255\n")
  local large = vm:run("head -c 20000000 /dev/zero | tr '\\0' x; head -c 3000000 /dev/zero | tr '\\0' y >&2")
  t:assert_eq({#large.stdout, #large.stderr}, {20000000, 3000000})
end)

test("no deadlock when a child fills both pipes while its stdin is written", function(t)
  local input = string.rep("0123456789abcde\n", 200000)
  local r = vm:run("python3", {args = {"-c", [[
import sys
for n in range(64):
    sys.stdout.write("x" * 65536)
    sys.stderr.write("y" * 65536)
data = sys.stdin.buffer.read()
sys.stdout.write(str(len(data)))
]]}, stdin = input, timeout = "60s"})
  r:assert_ok()
  t:assert_eq(r.stdout:sub(-7), tostring(#input))
  t:assert_eq(#r.stderr, 64 * 65536)
end)

test("a background child of the shell does not hold run open", function(t)
  local started = vm:uptime()
  t:assert_eq(vm:run("sleep 1000 & echo done"):assert_ok().stdout, "done\n")
  t:assert(vm:uptime() - started < 30)
end)

test("run_async returns at once and nothing ends it but you", function(t)
  local proc = vm:run_async("python3", {args = {"/server.py"}})
  t:assert_eq(proc:status().running, true)
  proc:kill("term")
  local r = proc:wait("5s")
  t:assert_eq({r.status, r.signal}, {"signalled", 15})
end)

test("run_async mirrors run's opts but for the timeout", function(t)
  local proc = vm:run_async("pwd; echo $A; cat", {cwd = "/tmp", env = {A = "b"}, stdin = "in\n"})
  proc:close_stdin()
  t:assert_eq(proc:wait("5s"):assert_ok().stdout, "/tmp\nb\nin\n")
  t:assert_eq(vm:run_async("echo", {"legacy"}):wait("5s").stdout, "legacy\n")
  t:assert_eq(vm:run_async("/usr/bin/env", {args = {}, env = {A = "1"}, env_clear = true}):wait("5s").stdout, "A=1\n")
  for _, key in ipairs({"timeout", "timeout_ms"}) do
    local err = t:assert_raises(function() vm:run_async("true", {[key] = 5}) end)
    t:assert_contains(err, "vm:run_async")
    t:assert_contains(err, key)
    t:assert_contains(err, "proc:wait")
  end
end)

test("stdin pipe", function(t)
  local proc = vm:run_async("cat")
  proc:stdin_write("hello\n")
  proc:stdin_write("world\n")
  proc:close_stdin()
  local r = proc:wait("5s")
  t:assert_eq(r.stdout, "hello\nworld\n")
end)

test("streaming stdout", function(t)
  local proc = vm:run_async("sleep 0.3; echo listening on port 8080; exec sleep 100")
  local out  = proc:stdout_stream()
  t:assert_contains(out:expect("listening on port 8080", "10s"), "listening on port 8080")
  proc:kill("kill")
end)

test("signals by number and by name", function(t)
  local function ended_by(kill)
    local proc = vm:run_async("exec sleep 100")
    kill(proc)
    return proc:wait("10s").signal
  end
  t:assert_eq(ended_by(function(proc) proc:kill() end), 15)
  t:assert_eq(ended_by(function(proc) proc:kill(9) end), 9)
  t:assert_eq(ended_by(function(proc) proc:kill("kill") end), 9)
  t:assert_eq(ended_by(function(proc) proc:kill("usr1") end), 10)
  t:assert_eq(ended_by(function(proc) proc:signal("usr2") end), 12)
end)

test("every recognised name, with its prefix, in any case", function(t)
  local numbers = {term = 15, kill = 9, int = 2, hup = 1, quit = 3, stop = 19, cont = 18, usr1 = 10, usr2 = 12,
    alrm = 14, pipe = 13, chld = 17, winch = 28}
  -- A program that counts what reaches it; STOP and KILL no program can see.
  vm:write_file("/count.py", [[
import os, signal, sys
for number in range(1, 32):
    if number not in (signal.SIGKILL, signal.SIGSTOP):
        signal.signal(number, lambda got, frame: os.write(1, b"got %d\n" % got))
os.write(1, b"ready\n")
while True:
    signal.pause()
]])
  local proc = vm:run_async("python3", {args = {"/count.py"}})
  local out = proc:stdout_stream()
  out:expect("ready\n", "10s")
  for name, number in pairs(numbers) do
    if name ~= "kill" and name ~= "stop" then
      for _, spelling in ipairs({name, "sig" .. name, name:upper(), "SIG" .. name:upper(), number}) do
        proc:signal(spelling)
        out:expect("got " .. number .. "\n", "10s")
      end
    end
  end
  proc:signal("stop")
  wait_until(function() return vm:read_file("/proc/" .. proc:pid() .. "/stat"):match("%) (%a)") == "T" end)
  proc:signal("cont")
  out:expect("got 18\n", "10s")
  proc:kill("sigkill")
  t:assert_eq(proc:wait("5s").signal, 9)
end)

test("inspecting the process", function(t)
  local proc = vm:run_async("exec sleep 100")
  wait_until(function() return vm:read_file("/proc/" .. proc:pid() .. "/comm") == "sleep\n" end, {desc = "the shell to become the sleep"})
  t:assert_eq(proc:handle(), proc:handle())
  t:assert_eq(math.type(proc:handle()), "integer")
  t:assert_eq(proc:status().running, true)
end)

test("waiting in each form", function(t)
  t:assert_eq(vm:run_async("exit 4"):wait().exit_code, 4)
  t:assert_eq(vm:run_async("exit 5"):wait("5s").exit_code, 5)
  local slow = vm:run_async("sleep 100"):wait(0.5)
  t:assert_eq({slow.status, slow.timed_out, slow.exit_code}, {"timed_out", true, -2})
  local proc = vm:run_async("sleep 100")
  for _, zero in ipairs({0, 0.0, "0s", "0ms"}) do
    local err = t:assert_raises(function() proc:wait(zero) end)
    t:assert_contains(err, "status")
  end
  t:assert_eq(proc:status().running, true, "a refused wait kills nothing")
end)

test("workers: two writers in parallel", function(t)
  local w1 = vm:spawn_worker()
  local w2 = vm:spawn_worker()

  -- Two writers in parallel.
  local p1 = w1:run_async("dd if=/dev/urandom of=/tmp/a bs=1M count=8")
  local p2 = w2:run_async("dd if=/dev/urandom of=/tmp/b bs=1M count=8")

  p1:wait("30s"):assert_ok()
  p2:wait("30s"):assert_ok()
  t:assert_eq(vm:stat("/tmp/a").size, 8 << 20)
  t:assert_eq(vm:stat("/tmp/b").size, 8 << 20)
end)

test("workers expose the VM's surface", function(t)
  local worker = vm:spawn_worker()
  t:assert_eq(worker:run("echo hi").stdout, "hi\n")
  t:assert_eq(worker:run_async("echo hi"):wait("5s").stdout, "hi\n")
  local file = worker:open_file("/tmp/f", {write = true, create = true})
  file:write("x")
  file:close()
  t:assert_eq(worker:syscall(39).ret, worker:pid())
  worker:kill()
  worker:join()
  worker:close()
end)

test("a barrier for two threads of control", function(t)
  local order = {}
  local function party(name)
    return coroutine.create(function()
      order[#order + 1] = name .. " comes"
      provium:barrier("both", 2, "5s")
      order[#order + 1] = name .. " goes on"
    end)
  end
  local one, two = party("one"), party("two")
  while coroutine.status(one) ~= "dead" or coroutine.status(two) ~= "dead" do
    for _, each in ipairs({one, two}) do
      if coroutine.status(each) ~= "dead" then assert(coroutine.resume(each)) end
    end
  end
  t:assert_eq({order[1], order[2]}, {"one comes", "two comes"})
  t:assert_eq(#order, 4)
end)

test("fixture installs curl", function(t)
    local vm = provium:vm_fixture("seeds/base")
    local r = vm:run("which curl")
    r:assert_ok()
    t:assert(r.stdout:find("/usr/bin/curl"))
end)

test("nginx serves index", function(t)
    local proc = vm:run_async("nginx", {args = {"-g", "daemon off;"}})
    local out  = proc:stdout_stream()
    -- nginx writes nothing to stdout in this mode; use wait_until on
    -- the listening port.
    wait_until(function()
        return vm:run("ss -ltn | grep :80"):ok()
    end, {timeout = "30s", desc = "nginx listening on :80"})
    local r = vm:run("curl -s http://localhost/")
    r:assert_ok()
    t:assert(r.stdout:find("Welcome to nginx"))
end)

test("several ops in one round trip", function(t)
  local results = vm:batch(function(b)
    b:write_file("/tmp/a", "1")
    b:write_file("/tmp/b", "2")
    b:read_file("/tmp/a")
    b:stat("/tmp/missing")
  end)
  t:assert_eq(#results, 4)
  t:assert_eq(results[3].ok, "1")
  t:assert_contains(results[4].err, "No such file")
  t:assert_eq(results[4].ok, nil)
  t:assert_eq(results[1].err, nil)
end)
