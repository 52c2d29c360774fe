-- Programs of a real distribution in a guest of 512 MiB, from a disk image that stays as it is.

provium.reset_between_tests = true
local vm = provium:vm_fixture("seeds/base")

test("it is Debian, and / is the image", function(t)
  t:assert_contains(vm:read_file("/etc/os-release"), "Debian GNU/Linux 12")
  t:assert_contains(vm:read_file("/proc/mounts"), " / ext4 rw")
  local kib = tonumber(vm:read_file("/proc/meminfo"):match("MemTotal:%s+(%d+)"))
  t:assert(kib < 512 * 1024, kib)
end)

test("/ can be written, and a reset takes it back", function(t)
  vm:write_file("/usr/bin/new", "#!/bin/sh\necho new\n")
  vm:run("chmod +x /usr/bin/new && sync && new"):assert_ok()
  vm:run("rm -rf /usr/share/nginx && rm /usr/bin/curl && sync"):assert_ok()
end)

test("what the test before removed is back", function(t)
  t:assert_raises(function() vm:stat("/usr/bin/new") end)
  t:assert_eq(vm:stat("/usr/bin/curl").entry_type, "file")
end)

test("python3", function(t)
  t:assert_eq(vm:run("python3", {args = {"-c", "import json; print(json.dumps({'a': [1, 2]}))"}}).stdout, '{"a": [1, 2]}\n')
end)

test("nginx and curl", function(t)
  local proc = vm:run_async("nginx", {args = {"-g", "daemon off;"}})
  wait_until(function() return vm:run("curl -sf http://localhost/"):ok() end, {timeout = "30s", desc = "nginx"})
  t:assert_contains(vm:run("curl -s http://localhost/").stdout, "Welcome to nginx")
  t:assert_contains(vm:run("curl -sI http://localhost/missing").stdout, "404 Not Found")
  t:assert_contains(vm:read_file("/var/log/nginx/access.log"), "GET / HTTP/1.1")
  proc:kill("quit")
  t:assert_eq(proc:wait("10s").exit_code, 0)
end)
