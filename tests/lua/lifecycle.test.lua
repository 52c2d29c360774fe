-- The life of a VM: every state, and every way it ends.

provium.timeout = "120s"

test("from created to shutdown", function(t)
  local vm = provium:vm("v", "small")
  t:assert_eq(vm:state(), "created")
  t:assert_eq(vm:cid(), nil)
  t:assert(vm:shutdown():kill() == vm)
  t:assert_eq(vm:state(), "created")
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

  vm:shutdown():shutdown()
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

test("a file and a port are waited for", function(t)
  local vm = provium:vm("v", "small"):boot()
  vm:run_async("sleep 0.3; echo x > /tmp/late")
  t:assert(vm:wait_for_file("/tmp/late", "20s") == vm)
  t:assert_contains(t:assert_raises(function() vm:wait_for_file("/tmp/never", 0.2) end),
    "vm:wait_for_file: file `/tmp/never` was not there within 0.2s")
  t:assert_contains(t:assert_raises(function() vm:wait_for_port(4321, 0.2) end),
    "vm:wait_for_port: TCP port 4321 was not there within 0.2s: nothing listens on it")
  t:assert_contains(t:assert_raises(function() vm:wait_for_port(0) end), "the port: expected 1 to 65535")
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
  vm:shutdown()
  t:assert_contains(t:assert_raises(function() vm:run("true") end), "VM `v` is shutdown (")
  t:assert_contains(t:assert_raises(function() vm:run("true") end), "panicked")
  vm:boot()
  t:assert_eq(vm:state(), "booted")
  t:assert_raises(function() vm:run("echo c > /proc/sysrq-trigger") end)
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

test("a guest that hears nothing is killed by shutdown after 10 seconds", function(t)
  local vm = provium:vm("v", "small"):boot()
  local console = vm:console()
  vm:run_async("sleep 0.3; kill -STOP $PPID; echo its agent stands still >/dev/ttyS0")
  console:expect("its agent stands still")
  local started = os.time()
  vm:shutdown()
  t:assert(os.time() - started >= 9, "it was not waited for")
  t:assert_eq(vm:state(), "shutdown")
  local err = t:assert_raises(function() vm:run("true") end)
  t:assert_contains(err, "VM `v` is shutdown (it was killed: it did not shut down within 10 s)")
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

test("a boot without time says how little it had", function(t)
  local err = t:assert_raises(function() provium:vm("v", "silent", {boot_timeout = "50ms"}):boot() end)
  t:assert_contains(err, "the guest's agent did not answer within 50 ms (boot_timeout)")
end)

test("a kernel without a way to the host is told by what it lacks", function(t)
  for missing, initcall in pairs({CONFIG_VSOCKETS = "vsock_init", CONFIG_VIRTIO_MMIO = "virtio_mmio_init"}) do
    local options = {boot_timeout = 8, kernel_cmdline_append = "initcall_blacklist=" .. initcall}
    local err = t:assert_raises(function() provium:vm(initcall, "small", options):boot() end)
    t:assert_contains(err, "the guest's agent cannot reach the host: this kernel has no vsock")
    t:assert_contains(err, missing)
  end
end)

test("a guest without programs says why it has none", function(t)
  local vm = provium:vm("v", "bare")
  vm:boot()
  local err = t:assert_raises(function() vm:run("true") end)
  t:assert_contains(err, "exec `/bin/sh`: No such file or directory; profile `bare` has neither `initrd` nor `rootfs`")
  t:assert_contains(err, "so the guest has no programs, and `root=` has no effect: use `rootfs`")
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

test("each thread that a guest reaches is confined while tests run", function(t)
  local vm = provium:vm("v", "small", {cpus = 2, disks = {{id = "data", scratch = "1M"}}}):boot()
  vm:run("true"):assert_ok()
  local seen = {}
  for folder in io.popen("ls -d /proc/$PPID/task/*"):lines() do
    local status = io.open(folder .. "/status")
    local text = status and status:read("a") or ""
    local kind = text:match("^Name:%s+provium%-(%l+)")
    if kind == "vcpu" or kind == "disk" or kind == "machine" then
      t:assert_contains(text, "\nSeccomp:\t2\n")
      t:assert_contains(text, "\nNoNewPrivs:\t1\n")
      seen[kind] = (seen[kind] or 0) + 1
    end
  end
  t:assert(seen.vcpu and seen.vcpu >= 2 and seen.disk and seen.machine, json.encode(seen))
end)
