-- What a real module makes real kernels say fails the test in which it happens, at once, and that test alone: on our kernel, on
-- Debian's, and on two with checkers. The tests are those of inner/splats/module.lua. Only what the memory sanitizer says, which
-- takes another compiler, is left to transcripts.

provium.timeout = "600s"

local inner = require("inner")
local SLOW = {timeout = "500s"}

-- `heads`: way → what its splat's head has in it.
local function check(t, kernel, heads)
  local ways = {}
  for way in pairs(heads) do ways[#ways + 1] = way end
  local environment = ("PROFILE=%s FOLDER=../../../../target/guest/%s CMDLINE='%s' WAYS='%s'"):format(
    kernel.profile, kernel.folder, kernel.cmdline or "", table.concat(ways, " "))
  local found = inner.tests("inner/splats/module.lua", environment, kernel.config and "--config " .. kernel.config)
  for way, head in pairs(heads) do
    for _, beside in ipairs{"before ", "after "} do
      t:assert_eq(found[beside .. way].status, "passed", tostring(found[beside .. way].message))
    end
    local one = found[way]
    t:assert_eq(one.status, "failed", way)
    t:assert_contains(one.message, head, way)
    -- The test sleeps for 50 s unless the splat ends it.
    t:assert_contains(one.message, "waiting in vm:run", way)
    if not head:find("kmemleak") then
      t:assert(one.failure.splats[1].text:find("Call [Tt]race:") or one.failure.splats[1].text:find("NMI backtrace"), way)
    end
  end
  return found
end

test("on our kernel, with files and lines", SLOW, function(t)
  local found = check(t, {profile = "small", folder = ""}, {
    warn = "at splat.c:", null = "BUG: kernel NULL pointer dereference, address: 0000000000000008",
    refcount = "refcount_t: addition on 0; use-after-free", ["schedule-atomic"] = "BUG: scheduling while atomic: ",
    ["hung-task"] = "INFO: task kworker", ["rcu-stall"] = "INFO: rcu_sched self-detected stall on CPU",
  })
  t:assert_contains(found.warn.failure.splats[1].text, "(kernel/workqueue.c:")
end)

test("on Debian's", SLOW, function(t)
  check(t, {profile = "cloud", folder = "debian-cloud", cmdline = "slub_debug=FZ page_poison=1"}, {
    warn = "at splat.c:", bug = "kernel BUG at splat.c:", ["soft-lockup"] = "BUG: soft lockup - CPU#",
    ["hung-task"] = "INFO: task kworker", ["bad-page"] = "BUG: Bad page state in process kworker",
    redzone = "BUG kmalloc-64 (",
  })
end)

test("on Debian's, which watches some of the memory", SLOW, function(t)
  check(t, {profile = "cloud", folder = "debian-cloud", cmdline = "kfence.sample_interval=1"}, {
    ["out-of-bounds"] = "BUG: KFENCE: ", ["use-after-free"] = "BUG: KFENCE: use-after-free read in go_use_after_free",
  })
end)

test("on one with checkers", SLOW, function(t)
  check(t, {profile = "checked", folder = "checked", config = "inner/splats/provium.toml"}, {
    ["out-of-bounds"] = "BUG: KASAN: slab-out-of-bounds in go_out_of_bounds",
    ["use-after-free"] = "BUG: KASAN: slab-use-after-free in go_use_after_free",
    shift = "UBSAN: shift-out-of-bounds in splat.c:", deadlock = "WARNING: possible circular locking dependency detected",
    ["sleep-atomic"] = "BUG: sleeping function called from invalid context at splat.c:",
    ["hard-lockup"] = "Watchdog detected hard LOCKUP on cpu ", ["workqueue-lockup"] = "BUG: workqueue lockup - pool cpus=",
    leak = "new suspected memory leaks",
  })
end)

test("on one that looks for data races", SLOW, function(t)
  check(t, {profile = "races", folder = "races", config = "inner/splats/provium.toml"}, {race = "BUG: KCSAN: data-race in race"})
end)
