-- A guest for the whole file, of the profile `small` in provium.toml.
local vm = provium:vm("guest", "small"):boot()

test("the guest says which kernel it runs", function(t)
  local release = vm:run("uname -r"):assert_ok().stdout
  t:log("kernel " .. release)
  t:assert(release:match("^%d+%.%d+"), release)
end)

test("a file is there once it was written", function(t)
  vm:write_file("/tmp/greeting", "hello\n")
  t:assert_eq(vm:run("cat /tmp/greeting").stdout, "hello\n")
end)
