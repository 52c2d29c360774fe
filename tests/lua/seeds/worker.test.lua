-- "Worker", sentence by sentence.

local vm = provium:vm_fixture("seeds/base")

local function word(bytes, at) return (string.unpack("<I4", bytes, at * 4 + 1)) end

-- Real, effective and saved user id, as the kernel tells whoever asks.
local function resuid(where)
  local r = where:syscall(118, {bufs = {("\0"):rep(4), ("\0"):rep(4), ("\0"):rep(4)}, ptrs = {0, 1, 2}})
  return {word(r.out_bufs[1], 0), word(r.out_bufs[2], 0), word(r.out_bufs[3], 0)}
end

test("constructed with nothing, with {thread = false} and with {thread = true}", function(t)
  local plain, forked, threaded = vm:spawn_worker(), vm:spawn_worker({thread = false}), vm:spawn_worker({thread = true})
  t:assert_eq(tostring(plain):match("^Worker") ~= nil, true)
  local agent = vm:syscall(39).ret
  t:assert_neq(plain:pid(), agent)
  t:assert_neq(forked:pid(), plain:pid())
  t:assert_eq(threaded:syscall(39).ret, agent)
  local err = t:assert_raises(function() vm:spawn_worker({tread = true}) end)
  t:assert_contains(err, "vm:spawn_worker")
  t:assert_contains(err, "thread")
end)

test("run has run's shapes", function(t)
  local worker = vm:spawn_worker()
  t:assert_eq(worker:run("echo a | tr a b").stdout, "b\n")
  t:assert_eq(worker:run("echo", {args = {"$HOME"}}).stdout, "$HOME\n")
  t:assert_eq(worker:run("echo", {"x"}).stdout, "x\n")
  t:assert_eq(worker:run("cat; pwd; echo $A", {stdin = "in\n", cwd = "/tmp", env = {A = "b"}}).stdout, "in\n/tmp\nb\n")
  t:assert_eq(worker:run("sleep 100", {timeout = "300ms"}).status, "timed_out")
  t:assert_contains(t:assert_raises(function() worker:run(nil) end), "worker:run: expected a string or an array as command, got nil")
end)

test("run_async returns a Process, without a timeout", function(t)
  local worker = vm:spawn_worker()
  local proc = worker:run_async("echo x; exit 2")
  local r = proc:wait("5s")
  t:assert_eq({r.exit_code, r.stdout}, {2, "x\n"})
  local err = t:assert_raises(function() worker:run_async("true", {timeout = 1}) end)
  t:assert_contains(err, "worker:run_async")
  t:assert_contains(err, "proc:wait")
end)

local leaked
test("a process leaked by a test", function(t)
  local worker = vm:spawn_worker()
  leaked = worker:run_async("exec sleep 31337"):pid()
  t:assert_eq(vm:stat("/proc/" .. leaked).entry_type, "directory")
end)

test("is gone in the next", function(t)
  t:assert_raises(function() vm:stat("/proc/" .. leaked) end)
end)

test("open_file has the VM's modes and its files are the worker's own", function(t)
  local worker = vm:spawn_worker()
  local file = worker:open_file("/tmp/worker", {read = true, write = true, create = true, truncate = true, perm = 384})
  t:assert_eq(file:write("hello"), 5)
  t:assert_eq(file:seek(0, "set"), 0)
  t:assert_eq(file:read(5), "hello")
  t:assert_eq(vm:stat("/tmp/worker").perm, 384)
  local fd = file:fd()
  t:assert_eq(vm:run("readlink", {args = {"/proc/" .. worker:pid() .. "/fd/" .. fd}}).stdout, "/tmp/worker\n")
  worker:close()
  t:assert_raises(function() file:read(1) end)
end)

test("syscall in both forms, with the same result shape", function(t)
  local worker = vm:spawn_worker()
  local r = worker:syscall(39)
  t:assert_eq({r.ret, r.result, r.errno}, {worker:pid(), worker:pid(), 0})
  local read = worker:syscall(1, {args = {99, 0, 1}, bufs = {"x"}, ptrs = {1}})
  t:assert_eq({read.ret, read.result, read.errno}, {-9, -1, 9})
  t:assert_eq(read.out_bufs, {"x"})
end)

test("credentials are the worker's own", function(t)
  local one, two, thread = vm:spawn_worker(), vm:spawn_worker(), vm:spawn_worker({thread = true})
  t:assert_eq(one:syscall(117, 1001, 1001, 1001).ret, 0)
  t:assert_eq(thread:syscall(117, 1003, 1003, 1003).ret, 0)
  t:assert_eq(resuid(one), {1001, 1001, 1001})
  t:assert_eq(resuid(two), {0, 0, 0})
  t:assert_eq(resuid(thread), {1003, 1003, 1003})
  t:assert_eq(resuid(vm), {0, 0, 0})
  t:assert_eq(one:run("id -u").stdout, "1001\n")
  t:assert_eq(vm:run("id -u").stdout, "0\n")
end)

test("kill broadcasts", function(t)
  local worker, other = vm:spawn_worker(), vm:spawn_worker()
  local procs = {}
  for n = 1, 5 do procs[n] = worker:run_async("exec sleep 100") end
  local spared = other:run_async("exec sleep 100")
  worker:kill("usr1")
  for _, proc in ipairs(procs) do t:assert_eq(proc:wait("5s").signal, 10) end
  t:assert_eq(spared:status().running, true)
  local more = worker:run_async("exec sleep 100")
  worker:kill(9)
  t:assert_eq(more:wait("5s").signal, 9)
  local last = worker:run_async("exec sleep 100")
  worker:kill()
  t:assert_eq(last:wait("5s").signal, 15)
end)

test("kill with a wrong argument names its type", function(t)
  local worker = vm:spawn_worker()
  local proc = worker:run_async("exec sleep 100")
  local err = t:assert_raises(function() worker:kill({}) end)
  t:assert_contains(err, "worker:kill")
  t:assert_contains(err, "table")
  t:assert_contains(t:assert_raises(function() worker:kill("nope") end), "unknown signal name `nope`")
  t:assert_eq(proc:status().running, true, "nothing was sent")
end)

test("join waits for every child", function(t)
  local worker = vm:spawn_worker()
  worker:run_async("sleep 0.5; exit 3")
  worker:run_async("true")
  local summary = worker:join()
  t:assert_eq(#summary, 2)
  local codes = {summary[1].exit_code, summary[2].exit_code}
  table.sort(codes)
  t:assert_eq(codes, {0, 3})
end)

test("handle is stable and opaque", function(t)
  local one, two = vm:spawn_worker(), vm:spawn_worker()
  t:assert_eq(one:handle(), one:handle())
  t:assert_neq(one:handle(), two:handle())
end)

test("close ends every child, then the worker", function(t)
  local worker = vm:spawn_worker()
  local child, pid = worker:run_async("exec sleep 100"):pid(), worker:pid()
  worker:close()
  worker:close()
  t:assert_raises(function() vm:stat("/proc/" .. child) end)
  wait_until(function() return not vm:run("test -e /proc/" .. pid):ok() end, {desc = "the worker to be gone"})
  t:assert_contains(t:assert_raises(function() worker:run("true") end), "closed")
end)

test("two concurrent writers don't tear", function(t)
    local w1 = vm:spawn_worker()
    local w2 = vm:spawn_worker()

    -- Each worker writes its own block of data, in parallel.
    local p1 = w1:run_async("dd", {args = {"if=/dev/urandom", "of=/tmp/a", "bs=1M", "count=8"}})
    local p2 = w2:run_async("dd", {args = {"if=/dev/urandom", "of=/tmp/b", "bs=1M", "count=8"}})

    p1:wait("30s"):assert_ok()
    p2:wait("30s"):assert_ok()

    t:assert_eq(vm:stat("/tmp/a").size, 8 * 1024 * 1024)
    t:assert_eq(vm:stat("/tmp/b").size, 8 * 1024 * 1024)
end)
