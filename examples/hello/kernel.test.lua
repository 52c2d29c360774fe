-- A first look: boot a kernel and ask it who it is.
--
-- What is made here, outside of any test, belongs to the file: one boot serves all its tests.
local vm = provium:vm("guest", "small"):boot()

test("the guest runs a kernel of its own", function(t)
  local release = vm:run("uname -r"):assert_ok().stdout:gsub("%s+$", "")
  t:log("kernel " .. release)
  t:assert(release:match("^%d+%.%d+%.%d+"), "no version of a kernel: " .. release)
end)

test("it has the memory and the CPU it was given", function(t)
  local kib = tonumber(vm:read_file("/proc/meminfo"):match("MemTotal:%s+(%d+) kB"))
  t:assert(kib > 160 * 1024 and kib <= 256 * 1024, kib .. " KiB")
  t:assert_eq(vm:run("nproc").stdout, "1\n")
end)

test("its console is ours to read", function(t)
  vm:run("echo a word on the console > /dev/console"):assert_ok()
  wait_until(function()
    return vm:console():read_log():find("a word on the console", 1, true)
  end, {desc = "the word on the console"})
end)
