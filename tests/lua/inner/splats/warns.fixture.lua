-- A fixture in whose making the kernel warns: none, for who asks for it. Asked for by starts.lua.
local vm = provium:vm("warns", "loud", {files = {{path = "/splat.ko", host = "../../target/guest/splat.ko"}}}):boot()
vm:run("insmod /splat.ko; echo warn > /proc/splat")
return vm:snapshot()
