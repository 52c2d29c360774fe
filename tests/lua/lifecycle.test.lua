-- The life of a VM: every state, and every way it ends.

provium.timeout = "120s"

test("from created to shutdown", function(t)
  local vm = provium:vm("v", "small")
  t:assert_eq(vm:state(), "created")
  t:assert_eq(vm:cid(), nil)
  t:assert(vm:boot() == vm)
  t:assert_eq(vm:state(), "booted")
  t:assert(vm:cid() >= 3)
  t:assert(vm:uptime() > 0)
  t:assert_contains(t:assert_raises(function() vm:boot() end), "VM `v` is booted, this needs it created or shutdown")

  vm:pause()
  t:assert_eq(vm:state(), "paused")
  t:assert_contains(t:assert_raises(function() vm:run("true") end), "VM `v` is paused, this needs it booted")
  vm:resume()
  t:assert_eq(vm:state(), "booted")
  vm:run("true"):assert_ok()

  vm:shutdown()
  t:assert_eq(vm:state(), "shutdown")
  t:assert_contains(t:assert_raises(function() vm:run("true") end), "VM `v` is shutdown")
end)

test("VMs that boot have context ids of their own, and snapshots keep them", function(t)
  -- IOCTL_VM_SOCKETS_GET_LOCAL_CID
  local function seen_inside(vm)
    local f = vm:open_file("/dev/vsock", {read = true})
    local id = string.unpack("<I4", vm:ioctl(f, 0x7b9, "\0\0\0\0").out_data)
    f:close()
    return id
  end
  local a, b = provium:vm("a", "small"):boot(), provium:vm("b", "small"):boot()
  t:assert(a:cid() ~= b:cid(), a:cid())
  t:assert_eq(seen_inside(a), a:cid())
  t:assert_eq(seen_inside(b), b:cid())

  local saved = b:snapshot()
  local c = provium:vm("c", "small")
  c:restore(saved)
  t:assert_eq(c:cid(), b:cid())
  t:assert_eq(seen_inside(c), b:cid())
  local before = b:cid()
  b:reset()
  t:assert(b:cid() ~= before, before)
  t:assert_eq(seen_inside(b), b:cid())
end)

test("boot options change the guest", function(t)
  local vm = provium:vm("v", "small", {memory = "256M", kernel_cmdline_append = "one.word=1"})
  vm:boot({cpus = 2, kernel_cmdline_append = "another.word=2"})
  t:assert_eq(vm:run("nproc").stdout, "2\n")
  local kib = tonumber(vm:read_file("/proc/meminfo"):match("MemTotal:%s+(%d+) kB"))
  t:assert(kib > 200 * 1024, kib)
  local cmdline = vm:read_file("/proc/cmdline")
  t:assert_contains(cmdline, "console=ttyS0")
  t:assert_contains(cmdline, "another.word=2")
  t:assert(not cmdline:find("one.word", 1, true), "the later option replaces the earlier")
end)

test("a guest that panics is dead, and says why", function(t)
  local vm = provium:vm("v", "small"):boot()
  local err = t:assert_raises(function() vm:run("echo c > /proc/sysrq-trigger") end)
  t:assert_contains(err, "VM `v` ended during the call")
  t:assert_contains(err, "panicked")
  t:assert_eq(vm:state(), "dead")
  t:assert_contains(vm:console():read_log(), "sysrq")
  vm:reset()
  t:assert_eq(vm:state(), "booted")
  vm:run("true"):assert_ok()
end)

test("a guest that powers itself off is shut down, and can boot again", function(t)
  local vm = provium:vm("v", "small"):boot()
  vm:write_file("/tmp/marker", "x")
  t:assert_contains(t:assert_raises(function() vm:run("poweroff -f") end), "powered off")
  t:assert_eq(vm:state(), "shutdown")
  vm:boot()
  t:assert_contains(t:assert_raises(function() vm:stat("/tmp/marker") end), "No such file")
end)

test("kill ends at once, close for good", function(t)
  local vm = provium:vm("v", "small"):boot()
  vm:kill()
  t:assert_eq(vm:state(), "shutdown")
  vm:close()
  vm:close()
  t:assert_contains(t:assert_raises(function() vm:boot() end), "VM `v` is closed")
end)

test("several boot at once", function(t)
  local names = {"a", "b", "c"}
  for _, name in ipairs(names) do provium:vm(name, "small") end
  t:assert(provium:boot() == provium)
  for _, name in ipairs(names) do
    t:assert_eq(provium[name]:run("echo " .. name).stdout, name .. "\n")
  end
  provium:shutdown()
  t:assert_eq(provium.a:state(), "shutdown")
end)

test("a kernel that panics at boot is reported at once, with its last words", function(t)
  local vm = provium:vm("v", "panics", {boot_timeout = 100})
  local started = os.time()
  local err = t:assert_raises(function() vm:boot() end)
  t:assert(os.time() - started < 60, "it took until the timeout")
  t:assert_contains(err, "VM `v` did not boot: the guest ended before its agent answered")
  t:assert_contains(err, "panicked")
  t:assert_contains(err, "Unable to mount root fs")
  t:assert_eq(vm:state(), "dead")
end)

test("a guest in which nobody answers is given up, and its console shown", function(t)
  local err = t:assert_raises(function() provium:vm("v", "silent", {boot_timeout = 15}):boot() end)
  t:assert_contains(err, "the guest's agent did not answer within 15 s (boot_timeout); the guest still ran")
  t:assert_contains(err, "last console lines:")
end)

test("what cannot be a machine is refused in words", function(t)
  local function raises(text, options)
    t:assert_contains(t:assert_raises(function() provium:vm("v", "small", options) end), text)
  end
  raises("memory must be 64M to 64G, got 1M", {memory = "1M"})
  raises("cpus must be 1 to 32, got 0", {cpus = 0})
  raises("unknown option `memmory`; did you mean `memory`?", {memmory = "1G"})
end)

test("several vCPUs end together, whoever of them powers off", function(t)
  for round = 1, 3 do
    local vm = provium:vm("many-" .. round, "small", {cpus = 2}):boot()
    vm:shutdown()
    t:assert_eq(vm:state(), "shutdown")
  end
end)
