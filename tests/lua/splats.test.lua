-- Splats of real kernels. What has to fail is in files of its own, which the command runs from here.

local small = provium:vm("small", "small", {files = {{path = "/splat.ko", host = "../../target/guest/splat.ko"}}})

local inner = require("inner")
local results = inner.result

test("each splat fails the test in which it happens, and no other", {timeout = "280s"}, function(t)
  local file = results("inner/splats/tests.lua")
  t:assert_eq(file.chunk_error, nil)
  t:assert(#file.tests > 25, #file.tests)
  for _, one in ipairs(file.tests) do
    local expected = one.name:match("^fails: (.*)")
    -- What is behind a comma says where, not what.
    local text = expected and expected:gsub("%+, .*", "+"):gsub(", .*waiting.*", ""):gsub(", behind .*", "")
    t:assert_eq(one.status, expected and "failed" or "passed", one.name .. ": " .. tostring(one.message))
    if expected then
      t:assert_contains(one.message, text, one.name)
    end
    if expected and expected:find("^go_") or expected and expected:find("^BUG") then
      local splat = one.failure.splats[1]
      t:assert_contains(one.message, splat.head, one.name)
      t:assert_contains(splat.text, "Call Trace:", one.name)
    end
  end
end)

test("a splat in the file's own code fails the file", {timeout = "120s"}, function(t)
  local file = results("inner/splats/file_scope.lua")
  t:assert_contains(file.chunk_error, "go_warn+")
  t:assert_eq(#file.tests, 0)
  t:assert_contains(file.failure.splats[1].text, "end trace")
end)

test("a splat while a guest starts fails the test that starts it, and one in a fixture's source the fixture", {timeout = "120s"}, function(t)
  local found = inner.tests("inner/splats/starts.lua")
  for _, name in ipairs({"a boot", "a boot that is caught", "a fixture"}) do
    local one = found[name]
    t:assert_eq(one.status, "failed", name)
    t:assert_contains(one.message, "go_warn+", name)
  end
  t:assert_contains(found["a boot"].failure.splats[1].text, "end trace")
  t:assert_contains(found["a fixture"].message, "fixture `inner/splats/warns` could not be built: kernel of VM `warns`: WARNING: ")
  t:assert_contains(found["a fixture"].message, "end trace")
  for _, name in ipairs({"behind a boot", "behind a fixture"}) do
    t:assert_eq(found[name].status, "passed", tostring(found[name].message))
  end
end)

test("a reset puts the taint back, so that a second warning counts like the first", {timeout = "120s"}, function(t)
  local found = inner.tests("inner/splats/reset.lua")
  for name, status in pairs({first = "failed", between = "passed", second = "failed", last = "passed"}) do
    t:assert_eq(found[name].status, status, name .. ": " .. tostring(found[name].message))
  end
  t:assert_contains(found.second.message, "go_warn+")
end)

test("what is expected comes back as a table", function(t)
  local vm = provium:vm("loud", "loud", {files = {{path = "/splat.ko", host = "../../target/guest/splat.ko"}}}):boot()
  vm:run("insmod /splat.ko"):assert_ok()
  local splat = t:expect_splat("refcount_t: addition on 0", function() vm:run("echo refcount > /proc/splat") end)
  t:assert_eq(splat.vm, "loud")
  t:assert_eq(splat.kind, "refcount")
  t:assert_eq(splat.head, "refcount_t: addition on 0; use-after-free.")
  t:assert_contains(splat.text, "go_refcount+")
  t:expect_splat(function() vm:run("echo warn > /proc/splat") end)
  -- One that comes behind the function is waited for, and one without a function up to the end.
  t:expect_splat("go_warn", function() vm:run("echo later warn > /proc/splat") end)
  t:expect_splat("go_warn")
  vm:run("echo later warn > /proc/splat")
end)

test("one that is allowed by metadata", {splat = "go_w%a+n"}, function(t)
  local vm = provium:vm("loud", "loud", {files = {{path = "/splat.ko", host = "../../target/guest/splat.ko"}}}):boot()
  vm:run("insmod /splat.ko; echo warn > /proc/splat; sleep 0.3")
end)

test("mistakes are said", function(t)
  t:assert_raises(function() t:expect_splat("[") end, {match = "pattern `[`: malformed pattern"})
  t:assert_raises(function() t:expect_splat(5) end, {match = "a pattern of Lua's, or a function"})
  t:assert_raises(function() provium.splats = "warm" end, {match = "expected \"fail\", \"warn\" or \"ignore\", got \"warm\""})
end)

test("a panic is seen behind an unfinished line and with its caller", function(t)
  for _, line in ipairs({
    "[    5.123456][    T1] Kernel panic - not syncing: made up",
    "a prompt # [    5.123456] Kernel panic - not syncing: made up",
    "---[ end Kernel panic - not syncing: made up ]---",
  }) do
    small:boot()
    local err = t:assert_raises(function() small:run({"sh", "-c", "echo \"$0\" > /dev/console; sleep 50", line}) end)
    t:assert_contains(err, "panicked: made up")
    small:kill()
  end
end)
