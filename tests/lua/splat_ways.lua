-- Runs the tests of inner/splats/module.lua on a kernel, for tests that look at what came of them.

local inner = require("inner")

-- `kernel`: its profile, the folder of its module below target/guest, more of its command line, another configuration. `heads`:
-- way → what its splat's head has in it. The results by test.
return function(t, kernel, heads)
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
    -- All but lost memory, which is one line, have a stack in one form or another.
    local _, places = one.failure.splats[1].text:gsub("%+0x%x+/0x%x+", "")
    t:assert(way == "leak" or places > 3, way)
  end
  return found
end
