-- What a real module makes a real kernel say fails the test in which it happens, at once, and that test alone: on our kernel
-- and on Debian's. The tests are those of inner/splats.lua.

provium.timeout = "280s"

local function results(profile, ways)
  local run = io.popen(("PROFILE=%s WAYS='%s' exec /proc/$PPID/exe --json --accel kvm inner/splats.lua 2>&1"):format(profile, ways))
  local text = run:read("a")
  run:close()
  local file = json.decode(text:match('{"path"[^\n]+') or error(text))
  local found = {}
  for _, one in ipairs(file.tests) do found[one.name] = one end
  return found
end

local function check(t, profile, heads)
  local ways = {}
  for way in pairs(heads) do ways[#ways + 1] = way end
  local found = results(profile, table.concat(ways, " "))
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
