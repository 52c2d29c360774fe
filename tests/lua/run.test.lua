-- `provium run`, run by this very command: streams, terminals, signals, exit codes, what boots.

provium.timeout = "120s"

local inner = require("inner")

local fixture = [[
  local vm = provium:vm("base", "small", {files = {{path = "/splat.ko", host = "%s/splat.ko"}}}):boot()
  vm:run("insmod /splat.ko"):assert_ok()
  vm:write_file("/run/saved", "from the fixture")
  return vm:snapshot()
]]
local guest = inner.guest()
local folder

provium.before_each(function(t)
  folder = inner.project(t, {["base.fixture.lua"] = fixture:format(guest)})
end)

local function shell(line) return inner.shell(folder, line) end

local function last_line(text) return text:match("([^\n]*)\n*$") end

test("a command has the streams, and its exit code is the command's", function(t)
  local kernel = ("-k %s/vmlinux --initrd %s/initrd.cpio"):format(guest, guest)
  local code, stdout, stderr = shell([[echo input | $provium run --accel kvm ]] .. kernel .. [[ --memory 192M --cpus 2 \
    --append 'one two' --append three -- sh -c 'cat; cat /proc/cmdline; nproc; free -m; test -t 1 || echo pipe; echo err >&2; exit 7']])
  t:assert_eq(code, 7, stderr)
  t:assert_eq(stderr, "err\n")
  t:assert(stdout:find("^input\n.* quiet one two three .*\n2\n.*Mem: *1[5-9]%d .*pipe\n$"), stdout)
end)

test("a folder is a build tree, and without an initrd there is a busybox", function(t)
  os.execute(("mkdir -p %s/tree/arch/x86/boot && ln -s %s/bzImage %s/tree/arch/x86/boot/"):format(folder, guest, folder))
  local code, stdout, stderr = shell([[$provium run --accel kvm -k tree -- /bin/cat /proc/1/comm /etc/passwd]])
  t:assert_eq(code, 0, stderr)
  t:assert_eq(stdout, "agent\nroot:x:0:0:root:/root:/bin/sh\n")
end)

test("an image is the root, and a shell reads what comes in", function(t)
  local line = "echo '. /etc/os-release; echo $ID; kill -9 $$' | $provium run small --accel kvm --rootfs %s/debian.ext4"
  local code, stdout, stderr = shell(line:format(guest))
  t:assert_eq(code, 137, stderr)
  t:assert_eq(stdout, "debian\n")
end)

test("on this machine's own root the command begins here, and folders are shared", function(t)
  local line = [[mkdir shared && $provium run --accel kvm -k %s/vmlinux --memory 256M --rootfs host --share shared:/mnt/shared:rw -- \
    bash -c 'pwd; echo $BASH_VERSION; cat /etc/os-release > /mnt/shared/release; echo lost > lost; ls -A /root']]
  local code, stdout, stderr = shell(line:format(guest))
  t:assert_eq(code, 0, stderr)
  local _, here = shell("pwd; bash -c 'echo $BASH_VERSION'")
  t:assert_eq(stdout, here)
  t:assert_eq({shell("cmp shared/release /etc/os-release && ls lost")}, {2, "", "ls: cannot access 'lost': No such file or directory\n"})
  code, _, stderr = shell(("$provium run --accel kvm -k %s/vmlinux --share nowhere -- true"):format(guest))
  t:assert_eq(code, 125)
  t:assert_contains(stderr, "--share: nowhere")
end)

test("what does not exist is told from what cannot be executed, and both from a guest that is not there", function(t)
  local code, stdout, stderr = shell("$provium run --accel kvm -- no-such-command")
  t:assert_eq({code, stdout}, {127, ""})
  t:assert_contains(last_line(stderr), "no-such-command")
  code, _, stderr = shell("$provium run nothing --accel kvm -- true")
  t:assert_eq(code, 125)
  t:assert_contains(stderr, "there is no profile `nothing`")
  code, _, stderr = shell("cd / && XDG_CACHE_HOME=/nowhere $provium run --accel kvm -- true")
  t:assert_eq(code, 125)
  t:assert_contains(stderr, "-k .")
  code, _, stderr = shell("$provium run -k . --accel kvm -- true")
  t:assert_eq(code, 125)
  t:assert_contains(stderr, "arch/x86/boot/bzImage")
  code, _, stderr = shell("$provium run --accel kvm --config no.toml -- true")
  t:assert_eq(code, 125)
  t:assert_contains(stderr, "no.toml")
end)

test("what cannot boot is refused before it is tried", function(t)
  local function refused(arguments)
    local code, _, stderr = shell("$provium run small --accel kvm " .. arguments .. " -- true")
    t:assert_eq(code, 125, stderr)
    return stderr
  end
  t:assert_contains(refused("--append 'one=\"two'"), "a quote that is not closed")
  t:assert_contains(refused("--initrd provium.toml"), "no newc cpio archive")
  t:assert_contains(refused(("--initrd %s/debian.ext4"):format(guest)), "give it as `rootfs`")
  os.execute(("head -c 99999 %s/initrd.cpio >%s/cut"):format(guest, folder))
  t:assert_contains(refused("--initrd cut"), "truncated")
end)

-- Bytes as the kernel has lz4: one block, in which nothing is packed.
local function lz4(bytes)
  local more = #bytes - 15
  local block = "\xf0" .. ("\xff"):rep(more // 255) .. string.char(more % 255) .. bytes
  return "\x02\x21\x4c\x18" .. string.pack("<I4", #block) .. block
end

test("an initrd in lz4 boots", function(t)
  local plain <close> = assert(io.open(guest .. "/initrd.cpio", "rb"))
  local packed = assert(io.open(folder .. "/initrd.lz4", "wb"))
  packed:write(lz4(plain:read("a")))
  packed:close()
  local code, stdout, stderr = shell("$provium run small --accel kvm --initrd initrd.lz4 -- cat /etc/hostname")
  t:assert_eq(code, 0, stderr)
  t:assert_eq(stdout, "guest\n")
end)

test("a distribution's kernel finds its modules, and another is told where they are", function(t)
  local cloud = guest .. "/debian-cloud"
  local list <close> = io.popen("ls " .. cloud .. "/modules")
  local version = list:read("l")
  os.execute(("cd %s && mkdir -p root/boot root/lib && ln -s %s/vmlinuz root/boot/vmlinuz-%s && ln -s %s/modules root/lib/"):format(
    folder, cloud, version, cloud))
  local code, stdout, stderr = shell(("$provium run --accel kvm -k root/boot/vmlinuz-%s -- uname -r"):format(version))
  t:assert_eq({code, stdout}, {0, version .. "\n"}, stderr)
  local toml <close> = io.open(folder .. "/modules.toml", "w")
  toml:write(([[
    [profiles.cloud]
    kernel = "%s/vmlinuz"
    modules = "root/lib/modules/%s"
    initrd = "%s/initrd.cpio"
    cmdline = "console=ttyS0 quiet"
  ]]):format(cloud, version, guest))
  toml:flush()
  code, stdout, stderr = shell("$provium run --accel kvm --config modules.toml -- grep -c '^overlay ' /proc/modules")
  t:assert_eq({code, stdout}, {0, "1\n"}, stderr)
end)

test("a fixture goes on, and a splat is the exit code", function(t)
  local run = "$provium run --accel kvm --fixture base -- sh -c 'cat /run/saved; echo warn > /proc/splat'"
  local code, stdout, stderr = shell(run)
  t:assert_eq({code, stdout}, {121, "from the fixture"}, stderr)
  t:assert(last_line(stderr):find("^provium: the guest's kernel reported: WARNING: "), stderr)
end)

test("a panic is the exit code, and the console is shown", function(t)
  local run = "$provium run small --accel kvm --console -- sh -c 'echo alive; sleep 0.1; echo c > /proc/sysrq-trigger'"
  local code, stdout, stderr = shell(run)
  t:assert_eq({code, stdout}, {120, "alive\n"}, stderr)
  t:assert_contains(stderr, "Linux version")
  t:assert(last_line(stderr):find("^provium: the guest's kernel panicked: "), stderr)
end)

test("a limit of time ends the guest", function(t)
  local code, _, stderr = shell("$provium run small --accel kvm --timeout 5s -- sleep 1000")
  t:assert_eq({code, stderr}, {124, "provium: --timeout 5 s passed\n"})
end)

test("signals are the command's", function(t)
  local code, stdout, stderr = shell([[
    mkfifo out
    $provium run small --accel kvm -- sh -c 'trap "echo got; exit 5" TERM; echo ready; while :; do sleep 0.05; done' >out &
    { read line; echo $line; kill -TERM $!; cat; } <out
    wait $!]])
  t:assert_eq({code, stdout}, {5, "ready\ngot\n"}, stderr)
end)

test("where there is a terminal the command has one, and it is left as it was", function(t)
  local line = [[stty rows 33 cols 99; stty -g >before
    $provium run small --accel kvm -- sh -c "tty; stty size; test -t 2 && echo \$TERM; exit 3"
    code=$?; stty -g >after; cmp before after && exit $code]]
  local script = assert(io.open(folder .. "/script", "w"))
  script:write(line)
  script:close()
  local code, stdout, stderr = shell("export provium=$(readlink $provium); TERM=xterm script -qec 'sh ./script' /dev/null </dev/null")
  t:assert_eq(code, 3, stdout .. stderr)
  t:assert_eq((stdout:gsub("^%^@", "")), "/dev/pts/0\r\n33 99\r\nxterm\r\n")
end)
