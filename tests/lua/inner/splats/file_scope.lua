-- A splat in the file's own code, run by splats.test.lua.
local vm = provium:vm("loud", "loud", {files = {{path = "/splat.ko", host = "../../target/guest/splat.ko"}}}):boot()
vm:run("insmod /splat.ko; echo warn > /proc/splat")
test("never runs", function() end)
