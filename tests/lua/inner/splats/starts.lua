-- Splats before there is a guest to talk to, run by splats.test.lua.

local files = {
  {path = "/splat.ko", host = "../../target/guest/splat.ko"},
  {path = "/sbin/early", mode = tonumber("755", 8), content = "#!/bin/sh\ninsmod /splat.ko; echo warn > /proc/splat; exec sleep 1000\n"},
}

-- Its process 1 makes the kernel warn while the agent starts.
local function boot()
  return provium:vm("early", "loud", {files = files, kernel_cmdline_append = "rdinit=/sbin/early"}):boot()
end

test("a boot", function() boot():run("sleep 1") end)
test("behind a boot", function() end)
test("a boot that is caught", function() pcall(boot) while true do end end)
test("a fixture", function() provium:vm_fixture("inner/splats/warns") end)
test("behind a fixture", function() end)
