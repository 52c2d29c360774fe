-- As many VMs of 128M as a run with `--mem 512M` has room for: run by pool.test.lua.

local vms = {}
local function another()
    vms[#vms + 1] = provium:vm_fixture("base")
end

test("four have all of it, and a fifth is told so", function(t)
    for _ = 1, 4 do another() end
    t:assert_contains(t:assert_raises(another), "with it the VMs of inner/many_vms.lua would have 640M of memory, "
        .. "more than this run has to give, which is 512M of memory (--mem changes that)")
    t:assert_eq(vms[1]:run("echo alive").stdout, "alive\n")
end)

test("one that was killed gives its part back", function(t)
    vms[4]:kill()
    another()
    t:assert_eq(vms[5]:run("echo alive").stdout, "alive\n")
end)

test("one that ends by itself gives its part back before anybody looks", function(t)
    vms[5]:run_async("echo o > /proc/sysrq-trigger")
    wait_until(function() return pcall(another) end, {timeout = "20s", desc = "the part of a VM that powered itself off"})
    t:assert_eq(vms[6]:run("echo alive").stdout, "alive\n")
end)
