-- A hundred tests over one fixture: each finds the guest as the fixture left it, whatever the one before did.

provium.timeout = "60s"
provium.reset_between_tests = true

local vm = provium:vm_fixture("base")
local build = vm:read_file("/run/build")

for number = 1, 100 do
  test("number " .. number, function(t)
    t:assert_eq(vm:read_file("/run/mark"), "built\n")
    t:assert_eq(vm:read_file("/run/build"), build, "one build serves all")
    t:assert_raises(function() vm:stat("/run/test") end)
    vm:write_file("/run/test", tostring(number))
    vm:write_file("/run/mark", "spoilt by " .. number)
  end)
end
