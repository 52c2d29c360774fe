-- Splats of real kernels. What has to fail is in files of its own, which the command runs from here.

local small = provium:vm("small", "small", {files = {{path = "/splat.ko", host = "../../target/guest/splat.ko"}}})

local results = require("inner").result

test("each splat fails the test in which it happens, and no other", {timeout = "280s"}, function(t)
  local file = results("splats_that_fail.lua")
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
  local file = results("splats_at_file_scope.lua")
  t:assert_contains(file.chunk_error, "go_warn+")
  t:assert_eq(#file.tests, 0)
  t:assert_contains(file.failure.splats[1].text, "end trace")
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
