-- A file whose tests cannot run side by side: run by parallel.test.lua.

provium.parallel = true
provium:vm_fixture("base")
provium:vm("own", "small"):boot()

test("never", function() end)
