-- `rootfs`: a disk image as `/`, and an ext4 journal that recovers from a power cut.

provium.timeout = "180s"
provium.reset_between_tests = true
local vm = provium:vm_fixture("seeds/base")

test("/ is the image's file system, and what a program needs is mounted", function(t)
  local mounts = vm:read_file("/proc/mounts")
  for _, line in ipairs{" / ext4 rw", " /proc proc ", " /sys sysfs ", " /dev devtmpfs ", " /dev/pts devpts ", " /run tmpfs "} do
    t:assert_contains(mounts, line)
  end
  t:assert_eq(vm:run("cat /proc/1/comm"):assert_ok().stdout, "agent\n")
  vm:run("echo new > /usr/bin/new && sync"):assert_ok()
end)

test("the next test finds it as it was", function(t)
  t:assert(not vm:run("test -e /usr/bin/new"):ok())
end)

test("after a power cut the journal recovers, with all that was synced and nothing torn", function(t)
  local disk = vm:attach_disk{id = "journal", size = "64M"}
  t:assert_eq(vm:read_file("/sys/block/vdb/serial"), "journal")
  vm:run("mkfs.ext4 -q /dev/vdb && mkdir -p /mnt && mount /dev/vdb /mnt"):assert_ok()
  vm:run("for i in 1 2 3 4 5 6 7 8; do mkdir /mnt/$i && seq 1 $((i * 1000)) > /mnt/$i/numbers; done && sync"):assert_ok()
  -- Synced by itself, so that the journal has a commit which nobody has written to its place yet.
  vm:run("echo kept > /mnt/kept && sync /mnt/kept"):assert_ok()
  vm:run("echo lost > /mnt/lost; rm -r /mnt/3; mv /mnt/4 /mnt/moved"):assert_ok()
  disk:power_cut()
  vm:run("ls /mnt/5; touch /mnt/after")
  vm:reset()
  local mounted = vm:run("mount /dev/vdb /mnt")
  mounted:assert_ok()
  t:assert_contains(vm:run("dmesg").stdout, "recovery complete")
  t:assert_eq(vm:read_file("/mnt/kept"), "kept\n")
  t:assert(not vm:run("test -e /mnt/lost"):ok())
  t:assert_eq(vm:run("seq 1 3000 | cmp - /mnt/3/numbers"):ok(), true)
  t:assert_eq(vm:run("seq 1 4000 | cmp - /mnt/4/numbers"):ok(), true)
  vm:run("umount /mnt && e2fsck -fn /dev/vdb"):assert_ok()
end)
