-- A booted guest with a file of its own and a file of the host.

local vm = provium:vm("base", "small"):boot()
vm:run("echo built > /run/mark; cat /proc/sys/kernel/random/uuid > /run/build"):assert_ok()
vm:push_file("provium.toml", "/run/pushed")
return vm:snapshot()
