-- Files of a real guest.

local vm = provium:vm("files", "small"):boot()

test("content of many sizes comes back whole", function(t)
  for _, size in ipairs({0, 1, 4095, 65536, 262145, 3000001}) do
    local data = ("\0\1\2\253\254\255\10"):rep(size // 7 + 1):sub(1, size)
    t:assert_eq(vm:write_file("/tmp/data", data), size)
    t:assert(vm:read_file("/tmp/data") == data, size .. " bytes")
    t:assert_eq(vm:stat("/tmp/data").size, size)
  end
end)

test("writing replaces", function(t)
  vm:write_file("/tmp/replaced", "a longer text")
  vm:write_file("/tmp/replaced", "short")
  t:assert_eq(vm:read_file("/tmp/replaced"), "short")
end)

test("files of /proc come whole though they claim to be empty", function(t)
  t:assert_contains(vm:read_file("/proc/version"), "Linux version 6.12")
  t:assert_eq(vm:stat("/proc/version").size, 0)
end)

test("metadata", function(t)
  vm:run("touch -d '2001-09-09 01:46:40' /tmp/old && chmod 4711 /tmp/old"):assert_ok()
  local s = vm:stat("/tmp/old")
  t:assert_eq({s.size, s.mtime, s.mtime_ns, s.entry_type}, {0, 1000000000, 0, "file"})
  t:assert_eq(s.perm, tonumber("4711", 8))
end)

test("types of entries", function(t)
  vm:run("cd /tmp && mkdir -p d && mkfifo f && ln -s nowhere l"):assert_ok()
  t:assert_eq(vm:stat("/tmp/d").entry_type, "directory")
  t:assert_eq(vm:stat("/tmp/f").entry_type, "fifo")
  t:assert_eq(vm:stat("/dev/null").entry_type, "char_device")
  t:assert_eq(vm:stat("/tmp/l", {follow = false}).entry_type, "symlink")
  t:assert_contains(t:assert_raises(function() vm:stat("/tmp/l") end), "No such file")
end)

test("failures name the file and the reason", function(t)
  local function raises(text, fn)
    local err = t:assert_raises(fn)
    t:assert_contains(err, "VM `files`")
    t:assert_contains(err, text)
  end
  raises("No such file or directory", function() vm:read_file("/no/such/file") end)
  raises("/no/such/file", function() vm:read_file("/no/such/file") end)
  raises("Is a directory", function() vm:write_file("/tmp", "x") end)
  raises("No such file or directory", function() vm:stat("/no/such") end)
end)
