-- The archive of a release on a machine that has nothing else of Provium. `cargo xtask dist` puts it beside this file.

local vm = provium:vm("guest", "debian"):boot({files = {["/opt/provium.tar.gz"] = "provium.tar.gz"}})
local unpack = "mkdir /opt/p && tar -xzf /opt/provium.tar.gz -C /opt/p --strip-components=1"

vm:run(unpack, {timeout = "60s"}):assert_ok()

local function shell(line)
  return vm:run(line, {timeout = "60s", env = {PATH = "/opt/p:/usr/bin:/bin", HOME = "/root"}}):assert_ok().stdout
end

test("the command runs", function(t)
  t:assert(shell("provium --version"):match("^provium %d+%.%d+%.%d+\n$"))
  t:assert_contains(shell("provium doctor --json || true"), "accel_auto")
end)

test("it makes a project and lists its tests", function(t)
  t:assert_contains(shell("cd /root && provium init first"), "provium guest fetch")
  t:assert_contains(shell("cd /root/first && provium list"), "a file is there once it was written")
end)

test("tests that boot nothing run", function(t)
  vm:run("mkdir /root/small"):assert_ok()
  vm:write_file("/root/small/a.test.lua", "test('sum', function(t) t:assert_eq(1 + 1, 2) end)\n")
  t:assert_contains(shell("cd /root/small && provium"), "1 passed, 0 failed")
end)

test("its manual, completions and licences are there", function(t)
  t:assert_contains(shell("cat /opt/p/man/man1/provium.1"), ".TH provium 1")
  shell("bash -n /opt/p/completions/provium.bash")
  t:assert_contains(shell("cat /opt/p/licences/packages.txt"), "mlua-")
  shell("test -s /opt/p/LICENSE-MIT && test -s /opt/p/LICENSE-APACHE && test -s /opt/p/README.md")
end)
