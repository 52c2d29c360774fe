-- A module that goes wrong in each way it knows, for splat_module.test.lua to look at. Each way is a test that must fail,
-- between tests that must pass. The environment says on which kernel, PROFILE, and in which ways, WAYS.

provium.reset_between_tests = true
provium.timeout = "600s"

local profile, ways = os.getenv("PROFILE"), os.getenv("WAYS")
local folder = profile == "small" and "../../target/guest/" or "../../target/guest/debian-cloud/"
-- Loud, so that a warning is on the console at once.
local vm = provium:vm("g", profile, {cpus = 2, kernel_cmdline_append = "loglevel=8"}):boot()
vm:push_file(folder .. "splat.ko", "/tmp/splat.ko")
vm:run("insmod /tmp/splat.ko"):assert_ok()
-- As short as they can be, where the kernel has them. The hung task's is for its own test, or a kernel that was busy with
-- another would report one too.
local function set(path, value)
  if pcall(vm.stat, vm, path) then vm:write_file(path, value) end
end
set("/proc/sys/kernel/watchdog_thresh", "1")

for way in ways:gmatch("%S+") do
  test("before " .. way, function() vm:run("true"):assert_ok() end)

  -- In nobody's system call, so that nothing but the splat ends it.
  test(way, {timeout = "60s"}, function(t)
    if way == "hung-task" then
      set("/proc/sys/kernel/hung_task_timeout_secs", "1")
      set("/proc/sys/kernel/hung_task_check_interval_secs", "1")
    end
    vm:write_file("/proc/splat", "later " .. way)
    vm:run("sleep 50")
    t:fail("nothing ended the test")
  end)

  test("after " .. way, function() vm:run("true"):assert_ok() end)
end
