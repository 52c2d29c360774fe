-- What a real module makes a real kernel say fails the test in which it happens, at once, and that test alone: on our kernel
-- and on Debian's. The tests are those of inner/splats.lua.

provium.timeout = "280s"

local inner = require("inner")

local function check(t, profile, heads)
  local ways = {}
  for way in pairs(heads) do ways[#ways + 1] = way end
  local environment = ("PROFILE=%s WAYS='%s'"):format(profile, table.concat(ways, " "))
  local found = inner.tests("inner/splats.lua", environment)
  for way, head in pairs(heads) do
    for _, beside in ipairs{"before ", "after "} do
      t:assert_eq(found[beside .. way].status, "passed", tostring(found[beside .. way].message))
    end
    local one = found[way]
    t:assert_eq(one.status, "failed", way)
    t:assert_contains(one.message, head, way)
    -- The test sleeps for 50 s unless the splat ends it.
    t:assert_contains(one.message, "waiting in vm:run", way)
    t:assert_contains(one.failure.splats[1].text, "Call Trace:", way)
  end
  return found
end

test("on our kernel, with files and lines", function(t)
  local found = check(t, "small", {
    warn = "at splat.c:", null = "BUG: kernel NULL pointer dereference, address: 0000000000000008",
    refcount = "refcount_t: addition on 0; use-after-free", ["schedule-atomic"] = "BUG: scheduling while atomic: ",
    ["hung-task"] = "INFO: task kworker",
  })
  t:assert_contains(found.warn.failure.splats[1].text, "(kernel/workqueue.c:")
end)

test("on Debian's", function(t)
  check(t, "cloud", {
    warn = "at splat.c:", bug = "kernel BUG at splat.c:", ["soft-lockup"] = "BUG: soft lockup - CPU#", ["hung-task"] = "INFO: task kworker",
  })
end)
