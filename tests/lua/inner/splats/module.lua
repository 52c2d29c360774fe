-- A module that goes wrong in each way it knows, for splat_module.test.lua to look at. Each way is a test that must fail,
-- between tests that must pass. The environment says on which kernel, PROFILE, whose module is in FOLDER, in which ways, WAYS,
-- and what the kernel's command line has besides, CMDLINE.

provium.reset_between_tests = true
provium.timeout = "600s"

local profile, folder, ways = os.getenv("PROFILE"), os.getenv("FOLDER"), os.getenv("WAYS")
-- Loud, so that a warning is on the console at once.
local cmdline = "loglevel=8 " .. (os.getenv("CMDLINE") or "")
local vm = provium:vm("g", profile, {cpus = 2, boot_timeout = "120s", kernel_cmdline_append = cmdline}):boot()
vm:push_file(folder .. "/splat.ko", "/tmp/splat.ko")
vm:run("insmod /tmp/splat.ko"):assert_ok()

local function set(path, value) vm:write_file(path, value) end

-- Limits as short as they can be, each for its own test: a kernel that is busy with one report would make others too.
local prepare = {
  ["soft-lockup"] = function() set("/proc/sys/kernel/watchdog_thresh", "1") end,
  ["hard-lockup"] = function()
    -- Guests of KVM switch it off.
    set("/proc/sys/kernel/nmi_watchdog", "1")
    set("/proc/sys/kernel/watchdog_thresh", "1")
  end,
  ["workqueue-lockup"] = function() set("/sys/module/workqueue/parameters/watchdog_thresh", "1") end,
  ["hung-task"] = function()
    set("/proc/sys/kernel/hung_task_timeout_secs", "1")
    set("/proc/sys/kernel/hung_task_check_interval_secs", "1")
  end,
  ["rcu-stall"] = function()
    set("/sys/module/rcupdate/parameters/rcu_cpu_stall_timeout", "3")
    -- A kernel with a lock validator adds five seconds.
    set("/sys/module/splat/parameters/seconds", "12")
  end,
}
-- What is looked for is found, not seen: behind the five seconds for which memory is too young to be lost.
local find = {
  leak = "mount -t debugfs none /sys/kernel/debug; sleep 6; for i in 1 2 3; do echo scan > /sys/kernel/debug/kmemleak; done; sleep 50",
}

for way in ways:gmatch("%S+") do
  test("before " .. way, function() vm:run("true"):assert_ok() end)

  -- In nobody's system call, so that nothing but the splat ends it.
  test(way, {timeout = "60s"}, function(t)
    if prepare[way] then prepare[way]() end
    set("/proc/splat", "later " .. way)
    vm:run(find[way] or "sleep 50")
    t:fail("nothing ended the test")
  end)

  test("after " .. way, function() vm:run("true"):assert_ok() end)
end
