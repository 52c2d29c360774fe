-- Raw system calls on a real guest.

local vm = provium:vm("syscalls", "small"):boot()

local SYS = {
  read = 0, write = 1, close = 3, writev = 20, getpid = 39, gettid = 186, openat = 257, setresuid = 117, getresuid = 118,
  memfd_create = 319, pread64 = 17,
}

local function memfd(t)
  local r = vm:syscall(SYS.memfd_create, {args = {0, 0}, bufs = {"t\0"}, ptrs = {0}})
  t:assert(r.ret >= 0, r.ret)
  return r.ret
end

test("results and error numbers", function(t)
  local pid = vm:syscall(SYS.getpid)
  t:assert(pid.ret > 1)
  t:assert_eq(pid, {ret = pid.ret, result = pid.ret, errno = 0, out_bufs = {}})
  t:assert_eq(vm:syscall(SYS.close, -1), {ret = -9, result = -1, errno = 9, out_bufs = {}})
  t:assert_eq(vm:syscall(99999).errno, 38)
end)

test("calls one after the other run on one thread", function(t)
  local tid = vm:syscall(SYS.gettid).ret
  for _ = 1, 10 do
    vm:run("true")
    t:assert_eq(vm:syscall(SYS.gettid).ret, tid)
  end
end)

test("buffers are shared with the kernel for the time of the call", function(t)
  local fd = memfd(t)
  t:assert_eq(vm:syscall(SYS.write, {args = {fd, 0, 5}, bufs = {"hello"}, ptrs = {1}}).ret, 5)
  local r = vm:syscall(SYS.pread64, {args = {fd, 0, 3, 1}, bufs = {"......"}, ptrs = {1}})
  t:assert_eq(r, {ret = 3, result = 3, errno = 0, out_bufs = {"ell..."}})
  vm:syscall(SYS.close, fd)
end)

test("structs that hold pointers", function(t)
  local fd = memfd(t)
  local r = vm:syscall(SYS.writev, {
    args = {fd, 0, 2},
    bufs = {string.pack("<i8i8i8i8", 0, 3, 0, 2), "abc", "de"},
    ptrs = {1},
    nested = {{parent = 1, offset = 0, child = 2}, {parent = 1, offset = 16, child = 3}},
  })
  t:assert_eq(r.ret, 5)
  local back = vm:syscall(SYS.pread64, {args = {fd, 0, 5, 0}, bufs = {("."):rep(5)}, ptrs = {1}})
  t:assert_eq(back.out_bufs[1], "abcde")
  vm:syscall(SYS.close, fd)
end)

test("a bad pointer is the kernel's to refuse", function(t)
  t:assert_eq(vm:syscall(SYS.write, 1, 0xdead0000, 10).errno, 14)
  t:assert(vm:syscall(SYS.getpid).ret > 1)
end)

test("wrong calls are refused before they reach the guest", function(t)
  local function raises(text, ...)
    local args = {...}
    t:assert_contains(t:assert_raises(function() vm:syscall(table.unpack(args)) end), text)
  end
  raises("argument 1: expected an integer, got string", SYS.write, "x")
  raises("[1] = 6: arguments are counted from 0 to 5", SYS.write, {bufs = {"x"}, ptrs = {6}})
  raises("does not fit a buffer of 8 bytes", SYS.write, {
    bufs = {("x"):rep(8)},
    nested = {{parent = 1, offset = 4, child = 1}},
  })
end)

test("ioctls of the classic dialect take a File too", function(t)
  local classic = provium.create("small"):boot()
  local f = classic:open_file("/dev/vsock", {read = true})
  -- IOCTL_VM_SOCKETS_GET_LOCAL_CID
  local ret, out = classic:ioctl(f, 0x7b9, "\0\0\0\0")
  t:assert_eq({ret, string.unpack("<I4", out)}, {0, classic:cid(), 5})
  t:assert_eq({classic:ioctl_buf(f, 0x7b9, "\0\0\0\0", {})}, {0, out})
  f:close()
  t:assert_contains(t:assert_raises(function() classic:ioctl(f, 0x7b9, "\0\0\0\0") end), "vm:ioctl: file is closed")
end)
