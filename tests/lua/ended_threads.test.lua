-- The guest's kernel ends a thread of the agent's: who waits for it hears of it at once, and the VM goes on.

-- The kernels here are made to oops; what that does to a test by itself is splats.test.lua's.
provium.splats = "ignore"

provium.timeout = "120s"

local SYS = {exit = 60, prctl = 157, gettid = 186, getpid = 39, write = 1, ioctl = 16, setresuid = 117, getuid = 102}
local EXIT = "the guest's kernel ended the thread that served this call: it called exit(7), which is number 60"
local SECCOMP = "the guest's kernel killed the thread that served this call: seccomp did not allow what it called next"
local KILLED = "the guest's kernel killed the thread that served this call; the console says: "

test("exit: the VM goes on with all that was open", function(t)
  local vm = provium:vm("v", "small"):boot()
  vm:write_file("/tmp/log", "one\n")
  local file = vm:open_file("/tmp/log", {read = true})
  local tail = vm:tail_file("/tmp/log", {start = "beginning"})
  local sleeper = vm:run_async("sleep 1000")
  vm:syscall(SYS.setresuid, 1000, 1000, 1000)
  local first = vm:syscall(SYS.gettid).ret
  t:assert_contains(t:assert_raises(function() vm:syscall(SYS.exit, 7) end), EXIT)

  t:assert_eq(vm:state(), "booted")
  t:assert_neq(vm:syscall(SYS.gettid).ret, first)
  t:assert_eq(vm:syscall(SYS.getpid).ret, first, "the process is the same")
  t:assert_eq(vm:syscall(SYS.getuid).ret, 0, "what the kernel kept for the thread is gone with it")
  t:assert_eq(vm:run("echo $((6 * 7))").stdout, "42\n")
  t:assert_eq(file:read_all(), "one\n")
  vm:run("echo two >>/tmp/log"):assert_ok()
  t:assert_eq(tail:next(), "one\n")
  t:assert_eq(tail:next(), "two\n")
  t:assert(sleeper:status().running)
  tail:close()

  -- As often as it happens, and through a snapshot.
  t:assert_contains(t:assert_raises(function() vm:syscall(SYS.exit, 7) end), EXIT)
  local snapshot = vm:snapshot()
  vm:run("rm /tmp/log"):assert_ok()
  vm:kill():restore(snapshot)
  t:assert_eq(vm:read_file("/tmp/log"), "one\ntwo\n")
  vm:spawn_worker():run("true"):assert_ok()
  vm:shutdown()
end)

test("seccomp", function(t)
  local vm = provium:vm("v", "small"):boot()
  t:assert_contains(t:assert_raises(function()
    vm:syscall(SYS.prctl, 22, 1)
    vm:syscall(SYS.getpid)
  end), SECCOMP)
  vm:run("true"):assert_ok()
end)

test("a worker ends alone", function(t)
  local vm = provium:vm("v", "small"):boot()
  for _, thread in ipairs({false, true}) do
    local other, worker = vm:spawn_worker({thread = thread}), vm:spawn_worker({thread = thread})
    t:assert_contains(t:assert_raises(function() worker:syscall(SYS.exit, 7) end), EXIT)
    t:assert_contains(t:assert_raises(function() worker:run("true") end), "is over since an earlier call: " .. EXIT)
    worker = vm:spawn_worker({thread = thread})
    t:assert_contains(t:assert_raises(function()
      worker:syscall(SYS.prctl, 22, 1)
      worker:syscall(SYS.getpid)
    end), SECCOMP)
    other:run("true"):assert_ok()
    other:close()
  end
  vm:run("true"):assert_ok()
end)

test("a system call on a thread of its own ends alone", function(t)
  local vm = provium:vm("v", "small"):boot()
  local call = vm:syscall_async(SYS.exit, 7)
  local ended = "ended the thread of the agent that this call waited for: it called exit(7)"
  t:assert_contains(t:assert_raises(function() call:await() end), ended)
  t:assert_contains(t:assert_raises(function() call:await() end), "as an earlier wait for it said")
  vm:run("true"):assert_ok()
end)

test("a batch", function(t)
  local vm = provium:vm("v", "small"):boot()
  t:assert_contains(t:assert_raises(function()
    vm:batch(function(b)
      b:write_file("/tmp/before", "x")
      b:syscall(SYS.exit, 7)
      b:write_file("/tmp/after", "x")
    end)
  end), EXIT)
  t:assert(vm:exists("/tmp/before"))
  t:assert(not vm:exists("/tmp/after"))
end)

-- With a module whose calls go wrong, on our kernel and on Debian's.
for _, kernel in ipairs({"forgiving", "cloud"}) do
  local module = kernel == "cloud" and "debian-cloud/splat.ko" or "splat.ko"

  local function booted()
    local vm = provium:vm("v", kernel):boot()
    vm:push_file("../../target/guest/" .. module, "/splat.ko")
    vm:run("insmod", {args = {"/splat.ko"}}):assert_ok()
    return vm
  end

  test("a bug of the kernel in a call ends it: " .. kernel, {splat = "ok"}, function(t)
    local vm = booted()
    local BUG, NULL = KILLED .. "kernel BUG at ", KILLED .. "BUG: kernel NULL pointer dereference, address: 0000000000000008"
    t:assert_contains(t:assert_raises(function() vm:write_file("/proc/splat", "bug") end), BUG)
    t:assert_contains(t:assert_raises(function() vm:write_file("/proc/splat", "null") end), NULL)
    local file = vm:open_file("/proc/splat", {write = true})
    t:assert_contains(t:assert_raises(function() vm:ioctl(file, 0x7301) end), BUG)
    t:assert_contains(t:assert_raises(function() vm:ioctl(file, 0x7302) end), NULL)
    file = vm:open_file("/proc/splat", {write = true})
    t:assert_contains(t:assert_raises(function()
      vm:syscall(SYS.write, {args = {file:fd(), 0, 3}, bufs = {"bug"}, ptrs = {1}})
    end), BUG)
    for _, thread in ipairs({false, true}) do
      local worker = vm:spawn_worker({thread = thread})
      t:assert_contains(t:assert_raises(function() worker:write_file("/proc/splat", "bug") end), BUG)
      t:assert_contains(t:assert_raises(function() worker:run("true") end), "is over since an earlier call: ")
    end
    file = vm:open_file("/proc/splat", {write = true})
    local call = vm:syscall_async(SYS.ioctl, {args = {file:fd(), 0x7302}})
    t:assert_contains(t:assert_raises(function() call:await() end), "BUG: kernel NULL pointer dereference")
    -- A program of the test's is a process like any other.
    t:assert(not vm:run("echo bug >/proc/splat"):ok())
    t:assert_eq(vm:state(), "booted")
    t:assert_contains(vm:run("dmesg").stdout, "splat_ioctl")
  end)
end

test("a kernel that panics on an oops ends the VM", {splat = "ok"}, function(t)
  local vm = provium:vm("v", "small"):boot()
  vm:push_file("../../target/guest/splat.ko", "/splat.ko")
  vm:run("insmod", {args = {"/splat.ko"}}):assert_ok()
  t:assert_contains(t:assert_raises(function() vm:write_file("/proc/splat", "null") end), "Fatal exception")
  t:assert_eq(vm:state(), "dead")
end)

test("memory that runs out ends programs and workers, not the agent", function(t)
  local vm = provium:vm("v", "small"):boot()
  local score = "/proc/self/oom_score_adj"
  t:assert_eq(vm:read_file(score), "-1000\n")
  t:assert_eq(vm:run("cat " .. score).stdout, "0\n")
  local worker = vm:spawn_worker()
  t:assert_eq(worker:read_file(score), "0\n")
  t:assert_eq(worker:run("cat " .. score).stdout, "0\n")
  worker:close()
  t:assert_eq(vm:run("tail /dev/zero").signal, 9, "of the program")
  t:assert_eq(vm:run("echo alive").stdout, "alive\n")
end)

test("an agent that is killed: the message says by what", function(t)
  local vm = provium:vm("v", "small"):boot()
  local pid = vm:syscall(SYS.getpid).ret
  t:assert_contains(t:assert_raises(function() vm:run("kill -9 " .. pid .. "; sleep 1000") end), "the agent was ended by signal 9")
  t:assert_eq(vm:state(), "dead")

  vm = provium:vm("w", "small"):boot()
  pid = vm:syscall(SYS.getpid).ret
  vm:write_file("/proc/" .. pid .. "/oom_score_adj", "1000")
  t:assert_contains(t:assert_raises(function() vm:run("echo 0 >/proc/self/oom_score_adj; tail /dev/zero") end), "(provium-agent)")
  t:assert_eq(vm:state(), "dead")
end)
