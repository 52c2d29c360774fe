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

test("folders", function(t)
  vm:mkdir("/tmp/one/two", {parents = true, perm = tonumber("711", 8)})
  t:assert_eq(vm:stat("/tmp/one/two").perm, tonumber("711", 8))
  vm:run("cd /tmp/one && mkfifo f && ln -s nowhere l && echo x > x"):assert_ok()
  local names = {}
  for _, entry in ipairs(vm:listdir("/tmp/one")) do names[#names + 1] = entry.name .. ":" .. entry.entry_type end
  t:assert_eq(names, {"f:fifo", "l:symlink", "two:directory", "x:file"})
  vm:rename("/tmp/one/x", "/tmp/one/y")
  vm:unlink("/tmp/one/y")
  t:assert_contains(t:assert_raises(function() vm:unlink("/tmp/one/y") end), "No such file")
  t:assert_contains(t:assert_raises(function() vm:unlink("/tmp/one/two") end), "directory")
end)

test("open files", function(t)
  local f = vm:open_file("/tmp/open", {read = true, write = true, create = true, exclusive = true})
  t:assert_contains(t:assert_raises(function() vm:open_file("/tmp/open", {write = true, create = true, exclusive = true}) end), "File exists")
  t:assert_eq(f:write("0123456789"), 10)
  t:assert_eq({f:seek(-4, "end"), f:read(2), f:tell(), f:read_all(), f:read(1)}, {6, "67", 8, "89", ""})
  -- The descriptor is a real one: the kernel moves the same position.
  t:assert_eq(vm:syscall(8, f:fd(), 3, 0).ret, 3)
  t:assert_eq(f:tell(), 3)
  t:assert_eq(vm:ioctl(f, 0x541B, "\0\0\0\0").out_data, "\7\0\0\0")
  t:assert_eq(vm:open_file_count(), 1)
  f:close()
  t:assert_eq({f:fd(), vm:open_file_count()}, {0, 0})
  t:assert_contains(t:assert_raises(function() f:read(1) end), "file is closed")
end)

test("a file goes to the host and back", function(t)
  local path = os.tmpname()
  vm:run("head -c 5000000 /dev/urandom > /tmp/pull; md5sum < /tmp/pull > /tmp/sum"):assert_ok()
  vm:pull_file("/tmp/pull", path)
  vm:push_file(path, "/tmp/pushed")
  t:assert_eq(vm:run("md5sum < /tmp/pushed").stdout, vm:read_file("/tmp/sum"))
  t:assert_contains(t:assert_raises(function() vm:pull_file("/none", path) end), "No such file")
  os.remove(path)
end)
