-- systemd as process 1 of Debian's userland, and waiting for its units.

provium.timeout = "240s"
local vm = provium:vm("systemd", "systemd"):boot{boot_timeout = "120s"}

test("process 1 is systemd, and a unit that starts is waited for", function(t)
  vm:wait_for_unit("multi-user.target", "180s")
  t:assert_eq(vm:read_file("/proc/1/comm"), "systemd\n")
  vm:run("systemctl stop nginx"):assert_ok()
  vm:run("systemctl start --no-block nginx"):assert_ok()
  t:assert_eq(vm:wait_for_unit("nginx.service", "60s"), vm)
  vm:wait_for_port(80)
end)

test("a unit that is not active, and one that is not there, say so at the limit", function(t)
  vm:write_file("/run/systemd/system/fails.service", "[Service]\nType=oneshot\nRemainAfterExit=yes\nExecStart=/bin/false\n")
  vm:run("systemctl daemon-reload; systemctl start fails")
  local failed = t:assert_raises(function() vm:wait_for_unit("fails.service", "1s") end)
  t:assert_contains(tostring(failed), "unit `fails.service` was not there within 1s: it is failed")
  local missing = t:assert_raises(function() vm:wait_for_unit("missing.service", 0.5) end)
  t:assert_contains(tostring(missing), "unit `missing.service` was not there within 0.5s: it is inactive")
end)

test("without systemd the reason is the command's", function(t)
  local small = provium:vm("small", "small"):boot()
  local none = t:assert_raises(function() small:wait_for_unit("x.service", 0.2) end)
  t:assert_contains(tostring(none), "systemctl")
end)
