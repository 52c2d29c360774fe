-- What a file's VMs take of the memory that a run has to give, and when it comes back.

local inner = require("inner")

test("VMs are charged, one too many is an error, and what has ended counts no more", function(t)
    local tests = inner.tests("--mem 512M inner/many_vms.lua")
    local ran = 0
    for name, result in pairs(tests) do
        ran = ran + 1
        t:assert_eq(result.status, "passed", name .. ": " .. tostring(result.message))
    end
    t:assert_eq(ran, 3)
end)
