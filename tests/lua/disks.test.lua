-- Disks: what the guest sees of them, faults that its own requests meet, power cuts, and what puts them back.

provium.timeout = "120s"
provium.reset_between_tests = true

local MIB = 1024 * 1024
local vm = provium:vm("disks", "small", {disks = {{id = "data", scratch = "16M"}}}):boot()
local data = vm:disk("data")

-- The guest's name for a disk, by its serial number; nil when there is none.
local function device(id)
  local line = "for d in /sys/block/vd*; do [ \"$(cat $d/serial 2>/dev/null)\" = '" .. id .. "' ] && echo /dev/${d##*/}; done; true"
  return vm:run(line):assert_ok().stdout:match("%S+")
end

-- A file of the host with these bytes.
local function image(bytes)
  local path = os.tmpname()
  local file = assert(io.open(path, "wb"))
  file:write(bytes)
  file:close()
  return path
end

local function content(path)
  local file = assert(io.open(path, "rb"))
  local bytes = file:read("a")
  file:close()
  return bytes
end

local function dd(args)
  return vm:run("dd bs=512 " .. args)
end

test("a scratch disk is there, empty, and both sides see what is written", function(t)
  t:assert_eq(data:id(), "data")
  t:assert_eq(data:size(), 16 * MIB)
  t:assert_eq(tostring(data), "Disk `data` of VM `disks`")
  t:assert_eq(vm:read_file("/sys/block/vda/serial"), "data")
  t:assert_eq(vm:read_file("/sys/block/vda/size"), "32768\n")
  t:assert_eq(data:read_sectors(0, 8), ("\0"):rep(4096))
  data:write_sectors(3, ("h"):rep(1024))
  t:assert_eq(dd("if=/dev/vda skip=3 count=2"):assert_ok().stdout, ("h"):rep(1024))
  vm:run("printf guest | dd of=/dev/vda bs=512 seek=9 conv=fsync"):assert_ok()
  t:assert_eq(data:read_sectors(9, 1):sub(1, 6), "guest\0")
end)

test("a file system on it keeps files", function(t)
  vm:run("mke2fs -q /dev/vda && mkdir -p /mnt && mount -t ext4 /dev/vda /mnt"):assert_ok()
  vm:run("seq 1 20000 > /mnt/numbers && umount /mnt && mount -t ext4 /dev/vda /mnt && md5sum < /mnt/numbers > /tmp/a && seq 1 20000 | md5sum | cmp - /tmp/a"):assert_ok()
end)

test("the reset before this test has put the disk back", function(t)
  t:assert_eq(data:read_sectors(0, 32768), ("\0"):rep(16 * MIB))
  t:assert_eq(dd("if=/dev/vda count=16"):assert_ok().stdout, ("\0"):rep(8192))
end)

test("dd meets EIO where it was put, and nowhere else", function(t)
  data:fault_inject("eio_read", {sectors = {from = 96, to = 103}})
  local failed = dd("if=/dev/vda of=/dev/null iflag=direct skip=100 count=1")
  t:assert(not failed:ok())
  t:assert_contains(failed.stderr, "Input/output error")
  -- The guest reads whole blocks of eight sectors.
  dd("if=/dev/vda of=/dev/null iflag=direct skip=104 count=8"):assert_ok()
  data:fault_inject("eio_write", {after = 1, count = 1})
  local write = "if=/dev/zero of=/dev/vda conv=fsync count=1"
  dd(write):assert_ok()
  t:assert_eq(data:active_faults()[2].after, 0)
  t:assert_contains(dd(write).stderr, "Input/output error")
  dd(write):assert_ok()
  local left = data:active_faults()
  t:assert_eq(#left, 1)
  t:assert_eq(left[1].mode, "eio_read")
  t:assert_eq(left[1].sectors, {from = 96, to = 103})
  data:clear_faults()
  t:assert_eq(data:active_faults(), {})
  dd("if=/dev/vda of=/dev/null iflag=direct skip=100 count=1"):assert_ok()
end)

test("a slow disk slows who uses it, and nobody else", function(t)
  data:fault_inject("slow", {delay = "500ms"})
  local proc = dd("if=/dev/vda of=/dev/null iflag=direct bs=4096 count=3")
  t:assert(proc:assert_ok().duration >= 0.5, proc.duration)
  t:assert_eq(data:active_faults()[1].delay, 0.5)
  vm:run("dd if=/dev/vda of=/dev/null iflag=direct bs=4096 count=2 & echo here"):assert_ok()
  -- Not a request may be half done in a snapshot.
  local snapshot = vm:snapshot()
  vm:kill()
  vm:restore(snapshot)
  t:assert_eq(data:active_faults(), {}, "faults are not part of a snapshot")
  dd("if=/dev/vda of=/dev/null iflag=direct count=1"):assert_ok()
end)

test("what was not flushed is gone with the power, what was flushed is there", function(t)
  vm:run("printf kept | dd of=/dev/vda bs=4096 conv=fsync"):assert_ok()
  vm:run("head -c 4096 /dev/zero | tr '\\0' l > /tmp/lost && dd if=/tmp/lost of=/dev/vda bs=4096 seek=1 oflag=direct"):assert_ok()
  t:assert_eq(data:read_sectors(8, 1), ("l"):rep(512))
  data:power_cut()
  t:assert_contains(dd("if=/dev/vda of=/dev/null iflag=direct count=1").stderr, "Input/output error")
  vm:reset()
  t:assert_eq(dd("if=/dev/vda count=1"):assert_ok().stdout:sub(1, 5), "kept\0")
  t:assert_eq(dd("if=/dev/vda skip=8 count=8"):assert_ok().stdout, ("\0"):rep(4096))
end)

test("a disk comes and goes while the guest runs", function(t)
  t:assert_eq(device("more"), nil)
  local more = vm:attach_disk{id = "more", size = "1M"}
  t:assert_eq(device("more"), "/dev/vdb")
  t:assert(not more:is_detached())
  vm:run("echo hello > /dev/vdb && sync"):assert_ok()
  t:assert_eq(more:read_sectors(0, 1):sub(1, 6), "hello\n")
  t:assert_contains(t:assert_raises(function() vm:attach_disk{id = "more", size = "1M"} end), "has a disk `more` already")
  more:detach()
  more:detach()
  t:assert(more:is_detached())
  t:assert_eq(device("more"), nil)
  t:assert_contains(t:assert_raises(function() more:size() end), "disk `more` of VM `disks` is detached")
  local again = vm:attach_disk{size = 512}
  t:assert_eq(again:id(), "disk0")
  t:assert_eq(device("disk0"), "/dev/vdb")
end)

test("snapshots have the disks that were there, with what was on them", function(t)
  t:assert_raises(function() vm:disk("disk0") end)
  local more = vm:attach_disk{id = "more", size = "1M"}
  vm:run("echo one > /dev/vdb && sync"):assert_ok()
  local snapshot = vm:snapshot()
  vm:run("echo two > /dev/vdb && sync"):assert_ok()
  more:detach()
  local late = vm:attach_disk{id = "late", size = "1M"}
  vm:kill()
  vm:restore(snapshot)
  t:assert(late:is_detached())
  t:assert_eq(device("late"), nil)
  t:assert_eq(more:read_sectors(0, 1):sub(1, 4), "one\n")
  t:assert_eq(vm:run("head -n 1 " .. device("more")):assert_ok().stdout, "one\n")
end)

test("an image is never changed, and a disk that is read-only is not either", function(t)
  local bytes = ("image "):rep(1024)
  local path = image(bytes)
  vm:attach_disk{id = "overlaid", image = path}
  vm:attach_disk{id = "fixed", image = path, readonly = true}
  t:assert_eq(vm:run("head -c 6144 " .. device("overlaid")):assert_ok().stdout, bytes)
  vm:run("echo changed > " .. device("overlaid") .. " && sync"):assert_ok()
  t:assert_contains(vm:run("head -c 8 " .. device("overlaid")).stdout, "changed\n")
  t:assert_eq(vm:read_file("/sys/block/" .. device("fixed"):match("vd.") .. "/ro"), "1\n")
  t:assert(not vm:run("echo changed > " .. device("fixed")):ok())
  t:assert_contains(t:assert_raises(function() vm:disk("fixed"):write_sectors(0, ("x"):rep(512)) end), "read-only")
  t:assert_eq(content(path), bytes)

  local snapshot = vm:snapshot()
  image("") -- a moment between two times of change
  local file = assert(io.open(path, "r+b"))
  file:write("other ")
  file:close()
  vm:kill()
  local message = t:assert_raises(function() vm:restore(snapshot) end)
  t:assert_contains(message, path .. ": it has changed since the snapshot was made")
  os.remove(path)
end)

test("a profile has disks", function(t)
  local other = provium:vm("of_profile", "data"):boot()
  t:assert_eq(other:run("cat /sys/block/vda/serial"):out(), "data")
  t:assert_contains(other:run("head -c 512 /dev/vdb"):assert_ok().stdout, "# The guest that")
  t:assert_eq(other:read_file("/sys/block/vdb/ro"), "1\n")
  other:disk("data"):write_sectors(0, ("x"):rep(512))
  t:assert_eq(other:run("head -c 3 /dev/vda").stdout, "xxx")
end)

test("an image that is asked to be written is, and no snapshot has it", function(t)
  local path = image(("\0"):rep(8192))
  local disk = vm:attach_disk{id = "through", image = path, writable = true}
  vm:run("printf through | dd of=" .. device("through") .. " bs=4096 conv=fsync"):assert_ok()
  t:assert_eq(content(path):sub(1, 8), "through\0")
  local message = t:assert_raises(function() vm:snapshot() end)
  t:assert_contains(message, "disk `through` writes into its image " .. path)
  disk:detach()
  vm:snapshot():delete()
  os.remove(path)
end)
