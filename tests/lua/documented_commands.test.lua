-- The commands that README.md and the pages about kernels and userlands show are typed here, each in a folder that has what it names.

provium.timeout = "120s"

local inner = require("inner")

local function read(path)
  local file <close> = assert(io.open("../../" .. path))
  return file:read("a")
end

-- What a reader puts in place of the words that stand for something of his own.
local stand_ins = {
  ["%f[%w]ARGS%f[%W]"] = "quiet", ["%-%- CMD%f[%W]"] = "-- true",
  ["%-k K%f[%W]"] = "-k bzImage", ["%-%-initrd I%f[%W]"] = "--initrd initrd.cpio", ["%-%-append A%f[%W]"] = "--append quiet",
  ["/boot/vmlinuz%-%$%(uname %-r%)"] = "root/boot/vmlinuz-$VERSION",
}

-- The lines of a page that run a command in a guest: those of its blocks, and those of the right side of its tables.
local function commands(page)
  local found, text = {}, read(page)
  for block in text:gmatch("\n```%l+\n(.-)\n```") do
    for line in (block .. "\n"):gmatch("%f[^\n\0]%$? ?(provium run [^\n]*)\n") do found[#found + 1] = line end
  end
  for cell in text:gmatch("\n|[^\n|]*| ([^\n|]*) |") do
    for line in cell:gmatch("`(provium run [^`]*)`") do found[#found + 1] = line end
  end
  return found
end

-- A project that is a kernel's build tree too: its own image, that of a distribution with modules, a program, an initrd.
local function tree(t)
  local folder = inner.project(t, {})
  local made = os.execute(([[cd %s && guest=$(cd %s && pwd) &&
    mkdir -p arch/x86/boot root/boot root/lib tools/testing/selftests/openat2 &&
    ln -s $guest/vmlinux arch/x86/boot/bzImage && ln -s $guest/vmlinux bzImage && ln -s $guest/initrd.cpio . &&
    version=$(ls $guest/debian-cloud/modules) && echo "$version" >version &&
    ln -s $guest/debian-cloud/vmlinuz root/boot/vmlinuz-$version && ln -s $guest/debian-cloud/modules root/lib/ &&
    printf '#!/bin/sh\necho ran\n' >tools/testing/selftests/openat2/openat2_test &&
    chmod +x tools/testing/selftests/openat2/openat2_test]]):format(folder, "$OLDPWD/../../target/guest"))
  t:assert(made, "a tree with all that the pages name")
  return folder
end

local function typed(t, page, expected)
  local lines, folder, seen = commands(page), tree(t), {}
  t:assert_eq(#lines, expected, "commands of " .. page)
  for _, line in ipairs(lines) do
    local command = line:gsub("%s+#.*$", "")
    for word, stand_in in pairs(stand_ins) do command = (command .. "\n"):gsub(word, stand_in):sub(1, -2) end
    if seen[command] then goto continue end
    seen[command] = true
    local run = io.popen(([[cd %s && VERSION=$(cat version) && exe=/proc/$PPID/exe && provium() { shift; $exe run --accel kvm "$@"; }
      { %s; } 2>&1]]):format(folder, command))
    local said = run:read("a")
    local passed = run:close()
    t:log(line .. ": " .. said)
    t:assert(passed, line .. " says: " .. said)
    ::continue::
  end
end

test("those of the first page", function(t) typed(t, "README.md", 2) end)
test("those about kernels and other tools", function(t) typed(t, "docs/how-to/kernels.md", 8) end)

test("the profile that has this machine's own root", function(t)
  local folder = tree(t)
  local profiles = {}
  for block in read("docs/how-to/userland.md"):gmatch("\n```toml\n(.-)\n```") do
    if block:find('rootfs  = "host"', 1, true) then profiles[#profiles + 1] = block end
  end
  t:assert_eq(#profiles, 2)
  for number, toml in ipairs(profiles) do
    local file <close> = assert(io.open(("%s/%d.toml"):format(folder, number), "w"))
    file:write(toml)
    file:flush()
    local run = io.popen(("cd %s && exec /proc/$PPID/exe run --accel kvm --config %d.toml -- sh -c 'ls -d /src/arch; uname' 2>&1"):format(folder, number))
    t:assert_contains(run:read("a"), number == 2 and "/src/arch\nLinux\n" or "Linux\n")
  end
end)
