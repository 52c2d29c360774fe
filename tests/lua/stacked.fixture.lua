-- Starts from another fixture and adds to it.

local vm = provium:vm_fixture("base")
vm:run("echo stacked >> /run/mark"):assert_ok()
return vm
