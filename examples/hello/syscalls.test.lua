-- Raw system calls: what no shell command can reach. They are made by the agent in the guest, always on one and the same
-- thread.

local vm = provium:vm("guest", "small"):boot()

local SYS = {read = 0, close = 3, getpid = 39, openat = 257, memfd_create = 319}
local AT_FDCWD = -100

test("integers in, an integer out", function(t)
  local r = vm:syscall(SYS.getpid)
  t:assert(r.ret > 0)
  t:assert_eq(r.errno, 0)
end)

test("a failed call has its error number", function(t)
  local EBADF = 9
  t:assert_eq(vm:syscall(SYS.close, -1).errno, EBADF)
end)

test("buffers go in and come back", function(t)
  vm:write_file("/tmp/note", "written by the test")
  -- ptrs[1] = 1: argument 1, counted from 0 as the kernel does, gets the address of bufs[1].
  local fd = vm:syscall(SYS.openat, {args = {AT_FDCWD, 0, 0}, bufs = {"/tmp/note\0"}, ptrs = {1}}).ret
  t:assert(fd >= 0, "openat returned " .. fd)
  local r = vm:syscall(SYS.read, {args = {fd, 0, 7}, bufs = {("."):rep(10)}, ptrs = {1}})
  t:assert_eq(r.ret, 7)
  t:assert_eq(r.out_bufs[1], "written...")
  t:assert_eq(vm:syscall(SYS.close, fd).ret, 0)
end)

test("descriptors live in the agent from call to call", function(t)
  local fd = vm:syscall(SYS.memfd_create, {args = {0, 0}, bufs = {"scratch\0"}, ptrs = {0}}).ret
  t:assert(fd > 2, "memfd_create returned " .. fd)
  vm:syscall(SYS.close, fd)
end)
