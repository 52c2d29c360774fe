-- Kernels that cannot be a guest's say so in a moment; words that take hardware away, programs of 32 bits, a kernel that another
-- one starts.

provium.timeout = "180s"

local inner = require("inner")

local guest = inner.guest()
local folder

provium.before_each(function(t) folder = inner.project(t, {}) end)

local function shell(line) return inner.shell(folder, line) end

test("a kernel that lacks the channel says so long before the boot's limit", function(t)
  -- Its modules are not where they are looked for, and the initrd has none.
  local code, _, stderr = shell(("$provium run --accel kvm -k %s/debian-cloud/vmlinuz -- true"):format(guest))
  t:assert_eq(code, 125, stderr)
  t:assert_contains(stderr, "the guest's agent cannot reach the host: this kernel has no vsock")
end)

test("what is known to be lacking explains a boot that fails", function(t)
  local code, _, stderr = shell(([[
    mkdir mine && ln -s %s/debian-cloud/vmlinuz mine/vmlinuz && echo CONFIG_VIRTIO_MMIO=m >mine/.config &&
      $provium run --accel kvm -k mine/vmlinuz -- true]]):format(guest))
  t:assert_eq(code, 125, stderr)
  t:assert_contains(stderr, "CONFIG_VIRTIO_MMIO (a module, and there is no file of it)")
end)

test("words that take the interrupts or the clock away are refused by name, and work where they can", function(t)
  for _, word in ipairs({"noapic", "nosmp", "no-kvmclock"}) do
    local code, _, stderr = shell("$provium run small --accel kvm --append " .. word .. " -- true")
    t:assert_eq(code, 125, stderr)
    t:assert_contains(stderr, ("`%s` on the kernel command line"):format(word))
  end
  local code, stdout, stderr = shell("$provium run small --accel kvm --cpus 2 --append 'acpi=off nosmp noapic nolapic' -- nproc")
  t:assert_eq({code, stdout}, {0, "1\n"}, stderr)
end)

-- A program of 32 bits that writes `i386`: an ELF header, one program header and 32 bytes of code.
local function program_of_32_bits()
  local base = 0x8048000
  local at = base + 52 + 32
  local code = "\xb8\x04\0\0\0\xbb\x01\0\0\0\xb9" .. string.pack("<I4", at + 34) .. "\xba\x05\0\0\0\xcd\x80" -- write
    .. "\xb8\x01\0\0\0\x31\xdb\xcd\x80" .. "\x90\x90\x90" .. "i386\n" -- exit
  local size = 52 + 32 + #code
  local head = "\x7fELF\1\1\1" .. ("\0"):rep(9)
    .. string.pack("<I2I2I4I4I4I4I4I2I2I2I2I2I2", 2, 3, 1, at, 52, 0, 0, 52, 32, 1, 0, 0, 0)
  return head .. string.pack("<I4I4I4I4I4I4I4I4", 1, 0, base, base, size, size, 5, 0x1000) .. code
end

test("programs of 32 bits run", function(t)
  local vm = provium:vm("i386", "small", {files = {{path = "/i386", content = program_of_32_bits(), mode = 493}}}):boot()
  t:assert_eq(vm:run("/i386"):assert_ok().stdout, "i386\n")
end)

test("a kernel starts another", function(t)
  local vm = provium:vm("kexec", "cloud", {memory = "512M", files = {
    {path = "/next/kernel", host = guest .. "/bzImage"},
    {path = "/next/initrd", host = guest .. "/initrd.cpio"},
  }}):boot()
  local OPENAT, KEXEC_FILE_LOAD, REBOOT = 257, 320, 169
  local function open(path)
    local opened = vm:syscall(OPENAT, {args = {-100, 0, 0}, bufs = {path .. "\0"}, ptrs = {1}})
    t:assert(opened.ret >= 0, opened.errno)
    return opened.ret
  end
  local cmdline = "console=ttyS0 rdinit=/bin/busybox -- poweroff -f\0"
  local loaded = vm:syscall(KEXEC_FILE_LOAD, {
    args = {open("/next/kernel"), open("/next/initrd"), #cmdline, 0, 0}, bufs = {cmdline}, ptrs = {3},
  })
  t:assert_eq(loaded.ret, 0)
  vm:syscall_async(REBOOT, 0xfee1dead, 672274793, 0x45584543, 0)
  local console = vm:console()
  console:expect("-provium (provium@xtask)", "30s")
  console:expect("reboot: Power down", "30s")
end)
