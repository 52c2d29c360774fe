-- Warnings that only the taint shows, in a guest that each test gets as the file left it. Run by splats.test.lua.

provium.reset_between_tests = true
local vm = provium:vm("quiet", "small", {files = {{path = "/splat.ko", host = "../../target/guest/splat.ko"}}}):boot()
vm:run("insmod /splat.ko"):assert_ok()

test("first", function() vm:run("echo warn > /proc/splat") end)
test("between", function() vm:run("true") end)
test("second", function() vm:run("echo warn > /proc/splat") end)
test("last", function() vm:run("true") end)
