-- Tests that run side by side: run by parallel.test.lua with three jobs.

provium.parallel = true
print("the file's own code")

local vm = provium:vm_fixture("base")
local ran = 0
provium.before_each(function(t) ran = ran + 1; t:log("before " .. t.name) end)
provium.after_each(function(t) t:log("after " .. t.name) end)

local folder = os.getenv("MEETING")

-- Waits until all three have come, which they do only if they run at the same time.
local function meet(number)
    assert(io.open(folder .. "/" .. number, "w")):close()
    wait_until(function()
        for other = 1, 3 do
            local file = io.open(folder .. "/" .. other)
            if not file then return false end
            file:close()
        end
        return true
    end, {timeout = "60s", desc = "the other tests"})
end

for number = 1, 3 do
    test("meets " .. number, function(t)
        t:assert_eq(ran, 1, "a Lua state of its own")
        t:assert_raises(function() vm:stat("/run/test") end)
        vm:write_file("/run/test", "x")
        meet(number)
    end)
end

test("left out", {skip = "not now"}, function() end)

test("fails", function(t)
    vm:run("echo gone")
    t:fail("as it should")
end)
