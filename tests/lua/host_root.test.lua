-- `rootfs = "host"`: the guest has this machine's own programs, nothing that is its user's, and keeps what it writes.

provium.timeout = "120s"

local vm = provium:vm("host", "host", {files = {{path = "/etc/motd", content = "injected\n"}}}):boot()

local function host(command)
  local pipe = assert(io.popen(command))
  local out = pipe:read("a")
  pipe:close()
  return out
end

test("programs and libraries are this machine's", function(t)
  t:assert_eq(vm:run("cat /etc/os-release"):assert_ok().stdout, host("cat /etc/os-release"))
  t:assert_eq(vm:run("ls /usr/bin | md5sum"):assert_ok().stdout, host("ls /usr/bin | md5sum"))
  t:assert_eq(vm:run("bash --version"):assert_ok().stdout, host("bash --version"))
  t:assert_eq(vm:read_file("/etc/motd"), "injected\n")
end)

test("homes, keys and sockets are not shown", function(t)
  t:assert_eq(vm:run("ls -A /root /home /tmp; ls /etc/ssh/ssh_host_*_key 2>/dev/null; true"):assert_ok().stdout, "/home:\n\n/root:\n\n/tmp:\n")
  t:assert_neq(vm:run("cat /etc/shadow").exit_code, 0)
  t:assert_neq(vm:run("cat /proc/1/comm").stdout, host("cat /proc/1/comm"))
end)

test("what the guest writes stays in its memory", function(t)
  vm:run("echo mine > /etc/hostname && rm /usr/bin/env && mkdir -p /var/new && touch /root/x /tmp/y"):assert_ok()
  t:assert_neq(host("cat /etc/hostname"), "mine\n")
  t:assert_neq(host("ls /usr/bin/env"), "")
  t:assert_contains(vm:run("ls /mnt/tests"):assert_ok().stdout, "helpers.lua")
  vm:run("rm /mnt/tests/helpers.lua"):assert_ok()
  t:assert_neq(host("ls tests/helpers.lua"), "")
end)
