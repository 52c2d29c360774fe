-- A VM that is resumed, reset, dies and boots again. Run by events.test.lua.

provium.reset_between_tests = true
local vm = provium:vm_fixture("base")

test("one", function() vm:run("true"):assert_ok() end)

test("two", {splat = "ok"}, function()
  pcall(function() vm:run("echo c > /proc/sysrq-trigger") end)
  wait_until(function() return vm:state() == "dead" end, {desc = "the panic"})
  vm:shutdown()
  vm:boot()
end)
