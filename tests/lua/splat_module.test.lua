-- What a real module makes real kernels say fails the test in which it happens, at once, and that test alone: on our kernel and
-- on Debian's. splat_checkers.test.lua has those kinds that only checkers see.

local check = require("splat_ways")
local SLOW = {timeout = "280s"}

test("on our kernel, with files and lines", SLOW, function(t)
  local found = check(t, {profile = "small", folder = ""}, {
    warn = "at splat.c:", null = "BUG: kernel NULL pointer dereference, address: 0000000000000008",
    refcount = "refcount_t: addition on 0; use-after-free", ["schedule-atomic"] = "BUG: scheduling while atomic: ",
    ["hung-task"] = "INFO: task kworker", ["rcu-stall"] = "INFO: rcu_sched self-detected stall on CPU",
  })
  t:assert_contains(found.warn.failure.splats[1].text, "(kernel/workqueue.c:")
end)

test("on Debian's", SLOW, function(t)
  check(t, {profile = "cloud", folder = "debian-cloud", cmdline = "slub_debug=FZ"}, {
    warn = "at splat.c:", bug = "kernel BUG at splat.c:", ["soft-lockup"] = "BUG: soft lockup - CPU#",
    ["hung-task"] = "INFO: task kworker",
    redzone = "BUG kmalloc-64 (",
  })
end)
