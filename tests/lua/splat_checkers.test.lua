-- The kinds of splats that only checkers see, on two kernels that have them, like splat_module.test.lua. Only what the memory
-- sanitizer says, which takes another compiler, is left to transcripts.

local check = require("splat_ways")
local SLOW = {timeout = "280s"}

test("on one with checkers", SLOW, function(t)
  check(t, {profile = "checked", folder = "checked", config = "inner/splats/checkers.toml"}, {
    ["out-of-bounds"] = "BUG: KASAN: slab-out-of-bounds in go_out_of_bounds",
    ["use-after-free"] = "BUG: KASAN: slab-use-after-free in go_use_after_free",
    shift = "UBSAN: shift-out-of-bounds in ", deadlock = "WARNING: possible circular locking dependency detected",
    ["sleep-atomic"] = "BUG: sleeping function called from invalid context at splat.c:",
    ["hard-lockup"] = "Watchdog detected hard LOCKUP on cpu ", ["workqueue-lockup"] = "BUG: workqueue lockup - pool cpus=",
    ["bad-page"] = "BUG: Bad page state in process kworker", leak = "new suspected memory leaks",
  })
end)

test("on one that looks for data races", SLOW, function(t)
  check(t, {profile = "races", folder = "races", config = "inner/splats/checkers.toml"}, {race = "BUG: KCSAN: data-race in race"})
end)

test("on one that watches some of the memory", SLOW, function(t)
  local kernel = {profile = "races", folder = "races", config = "inner/splats/checkers.toml", cmdline = "kfence.sample_interval=1"}
  check(t, kernel, {
    ["out-of-bounds"] = "BUG: KFENCE: ", ["use-after-free"] = "BUG: KFENCE: use-after-free read in go_use_after_free",
  })
end)
