-- "Workers" of the classic dialect, sentence by sentence. What that page shows with security tokens is shown here
-- with what every Linux has: user ids, groups, capabilities and keyrings.

local h = dofile("tests/helpers.lua")
local vm = provium.fixture("kacs")

test("parent and worker execute independently", function()
  local worker = vm:spawn()

  -- Both can execute commands independently
  local r1 = vm:exec("echo parent")
  local r2 = worker:exec("echo child")
  assert_contains(r1.stdout.value, "parent")
  assert_contains(r2.stdout.value, "child")

  worker:kill()
end)

test("everything else is there too", function()
  local worker = vm:spawn()
  worker:write_file("/tmp/from-worker", "x")
  assert_eq("x", worker:read_file("/tmp/from-worker"))
  assert_eq("guest", worker:json("cat /etc/config.json").name)
  assert_contains(worker:dmesg("Linux version"), "Linux version")
  local job = worker:background("exit 3")
  assert_eq(3, worker:job_wait(job, 20).exit_code)
  worker:mount_vfs()
  worker:kill()
end)

test("fork: own pid, own memory, own descriptors, own credentials", function()
  local fd = vm:syscall_buf(h.SYS_openat, 1, "/tmp/inherited\0", h.AT_FDCWD, 0, h.O_RDWR | h.O_CREAT, 438)
  local worker = vm:spawn()
  assert(worker:syscall(h.SYS_getpid) ~= vm:syscall(h.SYS_getpid))
  -- What was open at the fork is open in the worker.
  assert_eq(3, (worker:syscall_buf(h.SYS_write, 1, "abc", fd, 0, 3)))
  assert_eq("abc", vm:read_file("/tmp/inherited"))
  -- Closing it there closes it there only, and what is opened later is not shared.
  assert_eq(0, worker:syscall(h.SYS_close, fd))
  assert_eq(1, (vm:syscall_buf(h.SYS_write, 1, "d", fd, 0, 1)))
  local own = worker:syscall_buf(h.SYS_openat, 1, "/tmp/own\0", h.AT_FDCWD, 0, h.O_RDWR | h.O_CREAT, 438)
  assert(own >= 0)
  assert_eq(0, worker:syscall(h.SYS_setresuid, 1001, 1001, 1001))
  assert_eq(1001, (h.resuid(worker)))
  assert_eq(0, (h.resuid(vm)))
  vm:syscall(h.SYS_close, fd)
  worker:kill()
end)

test("thread: memory and descriptors shared, credentials its own", function()
  local worker = vm:spawn({thread = true})
  assert_eq(vm:syscall(h.SYS_getpid), worker:syscall(h.SYS_getpid))
  assert(worker:syscall(h.SYS_gettid) ~= vm:syscall(h.SYS_gettid))
  local fd = worker:syscall_buf(h.SYS_openat, 1, "/tmp/shared\0", h.AT_FDCWD, 0, h.O_RDWR | h.O_CREAT, 438)
  assert_eq(2, (vm:syscall_buf(h.SYS_write, 1, "hi", fd, 0, 2)))
  assert_eq("hi", worker:read_file("/tmp/shared"))
  assert_eq(0, vm:syscall(h.SYS_close, fd))
  assert_eq(-h.EBADF, worker:syscall(h.SYS_close, fd))
  assert_eq(0, worker:syscall(h.SYS_setresuid, 1002, 1002, 1002))
  assert_eq(1002, (h.resuid(worker)))
  assert_eq(0, (h.resuid(vm)))
  assert_eq("1002", worker:exec("id -u").stdout:trim())
  assert_eq("0", vm:exec("id -u").stdout:trim())
  worker:kill()
end)

test("setgroups, capset and session keyrings change neither parent nor siblings", function()
  for _, opts in ipairs({{thread = true}, {thread = false}}) do
    local changed, sibling = vm:spawn(opts), vm:spawn(opts)
    assert_eq(0, (changed:syscall_buf(h.SYS_setgroups, 1, provium.pack("u32 u32", 2001, 2002), 2, 0)))
    assert_eq(2, (changed:syscall(h.SYS_getgroups, 0, 0)))
    assert_eq(0, sibling:syscall(h.SYS_getgroups, 0, 0))
    assert_eq(0, vm:syscall(h.SYS_getgroups, 0, 0))

    local header = provium.pack("u32 i32", 0x20080522, 0)
    local function effective(where)
      local ret, _, data = where:syscall_bufs(h.SYS_capget, {[0] = header, [1] = string.rep("\0", 24)}, 0, 0)
      assert_eq(0, ret)
      return (provium.unpack("u32", data))
    end
    local before = effective(vm)
    assert(before ~= 0)
    local ret = changed:syscall_bufs(h.SYS_capset, {[0] = header, [1] = string.rep("\0", 24)}, 0, 0)
    assert_eq(0, ret)
    assert_eq(0, effective(changed))
    assert_eq(before, effective(sibling))
    assert_eq(before, effective(vm))

    local joined = sibling:syscall(h.SYS_keyctl, h.KEYCTL_JOIN_SESSION_KEYRING, 0)
    if joined ~= -38 then -- a kernel without keyrings
      assert(joined > 0, joined)
      assert_eq(joined, sibling:syscall(h.SYS_keyctl, h.KEYCTL_GET_KEYRING_ID, h.KEY_SPEC_SESSION_KEYRING, 0))
      assert(vm:syscall(h.SYS_keyctl, h.KEYCTL_GET_KEYRING_ID, h.KEY_SPEC_SESSION_KEYRING, 0) ~= joined)
    end
    changed:kill()
    sibling:kill()
  end
end)

test("kill closes the connection and the worker exits", function()
  local worker = vm:spawn()
  local pid = worker:syscall(h.SYS_getpid)
  assert(vm:exec("test -d /proc/" .. pid).ok)
  worker:kill()
  vm:wait_until(function() return not vm:exec("test -d /proc/" .. pid).ok end, {desc = "the worker's exit", interval = 0.05})
end)

local left
test("a worker that a test leaves", function()
  left = vm:spawn():syscall(h.SYS_getpid)
end)

test("is cleaned up after it", function()
  vm:wait_until(function() return not vm:exec("test -d /proc/" .. left).ok end, {desc = "the worker's exit", interval = 0.05})
end)

test("each of several workers has a pid of its own", function()
  local w1 = vm:spawn()
  local w2 = vm:spawn()
  local w3 = vm:spawn()

  -- Each has a different PID
  local pid1 = w1:syscall(39) -- getpid
  local pid2 = w2:syscall(39)
  local pid3 = w3:syscall(39)
  assert(pid1 ~= pid2 and pid2 ~= pid3)

  w1:kill()
  w2:kill()
  w3:kill()
end)

test("a fork from an agent with thread workers", function()
  local threads = {}
  for n = 1, 4 do threads[n] = vm:spawn({thread = true}) end
  local forked = vm:spawn()
  assert(forked:exec("echo alive").ok)
  for _, thread in ipairs(threads) do assert(thread:exec("true").ok) end
  assert(forked:syscall(h.SYS_getpid) ~= vm:syscall(h.SYS_getpid))
end)

test("workers share the kernel, VMs do not", function()
  local worker = vm:spawn()
  worker:write_file("/tmp/one-file-system", "")
  assert(vm:exec("test -e /tmp/one-file-system").ok)
  local other = provium.fixture("kacs")
  assert(not other:exec("test -e /tmp/one-file-system").ok)
  worker:kill()
  vm:shutdown()
  assert_eq("shutdown", vm:state())
end)
