-- `provium bisect` over 64 commits of a module that breaks in a guest, a few of whose kernels do not boot.

provium.timeout = "200s"

local inner = require("inner")

-- The module is on a disk behind a sector that says in which way it breaks, as the commit's sources do. A kernel of zeros ends
-- with its first instruction.
local PROFILE = [=[
[provium]
cache_dir = "cache"
[profiles.toy]
tree = "src"
build = '''
set -e
{ printf '%%-512s' "$(cat {tree}/way)"; cat %s/splat.ko; } > {out}/disk
truncate -s %%512 {out}/disk
ln -sf %s/vmlinux {out}/kernel
if [ $(cat {tree}/kernel) = dead ]; then
  cp --remove-destination %s/vmlinux {out}/kernel
  dd if=/dev/zero of={out}/kernel bs=1M seek=1 count=8 conv=notrunc status=none
fi
'''
kernel = "{out}/kernel"
initrd = "%s/initrd.cpio"
cmdline = "console=ttyS0 quiet"
memory = "128M"
disks = [{id = "module", path = "{out}/disk", readonly = true}]
]=]

local TEST = [[
test("the module does no harm", function(t)
  local vm = provium:vm("toy", "toy")
  vm:boot()
  local way = vm:run("head -c 512 /dev/vda | tr -d ' '").stdout
  vm:run("dd if=/dev/vda of=/splat.ko bs=512 skip=1")
  vm:run("insmod /splat.ko"):assert_ok()
  if way ~= "none" then vm:run("echo " .. way .. " > /proc/splat; sleep 1") end
end)
]]

-- The commits c1 to c64: from c41 on the module warns, and the kernels of c30 to c33 are dead.
local function history()
  local commits = {}
  for i = 1, 64 do
    local kernel = i >= 30 and i <= 33 and "dead" or "alive"
    commits[i] = ("commit refs/heads/main\ncommitter toy <toy@example.org> %d +0000\ndata <<E\nchange %d\nE\n" ..
      "M 100644 inline way\ndata <<E\n%s\nE\nM 100644 inline kernel\ndata <<E\n%s\nE\nM 100644 inline notes\ndata <<E\n%d\nE\n\n" ..
      "reset refs/tags/c%d\nfrom refs/heads/main\n\n"):format(i, i, i >= 41 and "warn" or "none", kernel, i, i)
  end
  return table.concat(commits)
end

-- Runs a shell line in a folder; all that it says, and its exit code.
local function shell(folder, line)
  local code, text = inner.shell(folder, "{ " .. line .. "; } 2>&1")
  return text, code
end

test("a module that breaks is found, by the driver and by git", function(t)
  local guest = inner.guest()
  local folder = inner.project(t, {["toy.test.lua"] = TEST, history = history()})
  local toml <close> = assert(io.open(folder .. "/provium.toml", "w"))
  toml:write(PROFILE:format(guest, guest, guest, guest))
  toml:close()
  local function sh(line) return shell(folder, line) end
  local text, code = sh("git init -q -b main src && git -C src fast-import --quiet < history && git -C src checkout -q c64")
  t:assert_eq(code, 0, text)

  local tests = " -- toy.test.lua --accel kvm"
  text, code = sh("$provium bisect --good c1 --bad c64 --boot-failure skip" .. tests)
  t:assert_eq(code, 0, text)
  t:assert_contains(text, "skip: the module does no harm: vm:boot: VM `toy` did not boot: ")
  t:assert(text:match("the first bad commit is %x+ change 41\n"), text)
  t:assert_contains(text, "WARNING: ")

  -- Git takes a guest that does not boot for a bad commit, unless told otherwise.
  sh("git -C src bisect start c64 c1")
  text = sh('git -C src bisect run sh -c "cd .. && $provium bisect step' .. tests .. '"')
  t:assert(text:gsub("'", ""):match("%x+ is the first bad commit\ncommit %x+\n.-\n    change 30\n"), text)
  sh("git -C src checkout -qf c31")
  for failure, expected in pairs{bad = 1, skip = 125} do
    text, code = sh(("$provium bisect step --boot-failure %s%s"):format(failure, tests))
    t:assert_eq(code, expected, text)
  end
end)

test("ready kernels are bisected in the order of their names", function(t)
  local guest = inner.guest()
  local folder = inner.project(t, {["boots.test.lua"] = 'test("boots", function() provium:vm("a", "small"):boot() end)\n'})
  local function sh(line) return shell(folder, line) end
  local text, code = sh(("mkdir k && for v in 8 9 10 11; do ln -s %s/vmlinux k/v6.$v; done && cp --remove-destination %s/vmlinux k/v6.11 && "
    .. "dd if=/dev/zero of=k/v6.11 bs=1M seek=1 count=8 conv=notrunc status=none"):format(guest, guest))
  t:assert_eq(code, 0, text)
  text, code = sh("$provium bisect --images k -- boots.test.lua --accel kvm")
  t:assert_eq(code, 0, text)
  t:assert(text:match("the first bad image is %S+/k/v6.11\n"), text)
  t:assert_contains(text, "good on v6.10: 1 passed")
  text, code = sh("$provium bisect --images k --good v6.9 --bad v6.10 -- boots.test.lua --accel kvm")
  t:assert_eq(code, 1, "what is given as bad is not: " .. text)
  text, code = sh("$provium bisect --images k --good v6.10 --bad v6.9 -- boots.test.lua --accel kvm")
  t:assert_eq(code, 2, text)
  t:assert_contains(text, "v6.10 does not come before v6.9")
end)
