-- A snapshot without a name, and what a guest writes to its disk.
test("goes on from a snapshot of its own", function(t)
  local vm = provium:vm_fixture("base")
  vm:write_file("/run/here", "before")
  local other = provium:vm("other", "small"):restore(vm:snapshot())
  t:assert_eq(other:read_file("/run/here"), "before")
end)

test("keeps what it writes to its disk", function(t)
  local vm = provium:vm_fixture("base")
  vm:run("dd if=/dev/urandom of=/dev/vda bs=64k count=48 conv=fsync 2>&1"):assert_ok()
  vm:run("echo 3 > /proc/sys/vm/drop_caches; dd if=/dev/vda of=/dev/null bs=64k count=48 2>&1"):assert_ok()
end)
