-- Tests of one file that run side by side, each in a guest of its own.

local inner = require("inner")

test("tests run at the same time, in guests and Lua states of their own, and are reported in order", function(t)
    local folder = os.tmpname()
    os.remove(folder)
    t:assert_eq(os.execute("mkdir " .. folder), true)
    t:defer(function() os.execute("rm -r " .. folder) end)
    local result = inner.result("-j 3 --cpus 4 inner/side_by_side.lua", "MEETING='" .. folder .. "'")
    local names = {}
    for at, one in ipairs(result.tests) do
        names[at] = one.name .. ": " .. one.status
    end
    t:assert_eq(names, {
        "meets 1: passed", "meets 2: passed", "meets 3: passed", "left out: skipped", "fails: failed",
    }, result.chunk_error)
    t:assert_eq(result.tests[1].log, {"the file's own code", "before meets 1", "after meets 1"})
    t:assert_eq(result.tests[2].log, {"before meets 2", "after meets 2"})
    t:assert_contains(result.tests[5].message, "as it should")
    t:assert_eq(result.tests[5].line, 39)
end)

test("a VM that the file's own code boots cannot be each test's own", function(t)
    local result = inner.result("inner/side_by_side_without.lua")
    t:assert_contains(result.chunk_error, "provium.parallel: VM `own` was booted by the file's own code")
    t:assert_eq(#result.tests, 0)
end)
