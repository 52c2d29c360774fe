-- Tests that reach their limits, for hangs.test.lua to look at; none of them can pass.

local idle = provium:vm("g", "small", {cpus = 2}):boot()
local busy = provium:vm("b", "small"):boot()

test("a guest waits for nothing", {timeout = "3s"}, function() idle:run("sleep 1000") end)

test("a program of the guest loops", {timeout = "3s"}, function() busy:run("while :; do :; done") end)

local quiet = {kernel_cmdline = "console=ttyS0 quiet rdinit=/bin/sleep -- 1000"}

test("a boot does not end", {timeout = "60s"}, function()
  quiet.boot_timeout = "8s"
  provium:vm("s", "silent", quiet):boot()
end)

test("a boot meets the limit of the test", {timeout = "8s"}, function()
  quiet.boot_timeout = "60s"
  provium:vm("s", "silent", quiet):boot()
end)
