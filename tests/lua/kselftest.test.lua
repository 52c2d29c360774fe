-- KTAP of a guest's programs as subtests. What has to fail is in a file of its own, which the command runs from here.

local inner = require("inner")

-- Status and first line of the message of every result, by its path.
local function results(parts, above, found)
  for _, part in ipairs(parts) do
    local path = above .. part.name
    results(part.subtests or {}, path .. " / ", found)
    if not part.subtests or part.message then
      found.all = found.all + 1
      found[path] = part.status .. (part.message and ": " .. part.message:match("[^\n]*") or "")
    end
  end
  return found
end

test("300 cases of a kselftest suite are 300 results", {timeout = "120s"}, function(t)
  local tests = inner.tests("kselftest/suite.lua")
  local suite = tests["ten programs"]
  t:assert_eq(suite.status, "failed")
  t:assert_eq(json.decode(suite.log[1]), {passed = 297, failed = 1, skipped = 1, xfailed = 1})
  local found = results(suite.subtests, "", {all = 0})
  t:assert_eq(found.all, 300)
  t:assert_eq(found["selftests: provium: third / case_7"], "failed: not ok")
  t:assert_eq(found["selftests: provium: third / case_8"], "skipped: no clock")
  t:assert_eq(found["selftests: provium: third / case_9"], "xfailed: bug 9")
  t:assert_eq(found["selftests: provium: tenth / case_30"], "passed")
  t:assert_contains(suite.message, "1 of 300 subtest(s) failed\n  selftests: provium: third / case_7: not ok")
  t:assert_eq(suite.meta, {spec = "K-1"})

  local dies = tests["a program that dies"]
  t:assert_eq(dies.status, "failed")
  found = results(dies.subtests, "", {all = 0})
  t:assert_eq(found["killed / plan"], "failed: 2 result(s) were planned, 1 came")
  t:assert_contains(found["killed / exit"], "signalled by SIGKILL (9), which no result of its output says")
  t:assert_eq(found["silent / (K)TAP"], "failed: there is no result in the output")
  t:assert_contains(found["sour / exit"], "exited with code 3, which no result of its output says")
  t:assert_eq(found["fine / all"], "skipped: no root")
end)
