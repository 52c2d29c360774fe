-- A guest that is put back before each test.
provium.reset_between_tests = true

local vm = provium:vm_fixture("base")

for number = 1, 3 do
  test("finds all as the fixture left it " .. number, function(t)
    t:assert_eq(vm:read_file("/run/mark"), "built")
    vm:write_file("/run/mark", "changed")
    vm:run("head -c 2000000 /dev/urandom > /tmp/more"):assert_ok()
  end)
end
