-- A booted guest with a disk.
local vm = provium:vm("base", "small", {disks = {{id = "data", scratch = "16M"}}}):boot()
vm:write_file("/run/mark", "built")
return vm:snapshot()
