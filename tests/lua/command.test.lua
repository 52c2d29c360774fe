-- The command's flags and subcommands that need guests: each is run by this very command in a project of its own.

provium.timeout = "120s"

local inner = require("inner")

local folder
local source = "local vm = provium:vm('base', 'small')\nvm:boot()\nreturn vm:snapshot()\n"

local function write(name, text)
  local file = assert(io.open(folder .. "/" .. name, "w"))
  file:write(text)
  file:close()
end

-- Runs the command in that project, which must end well; returns what it says.
local function command(t, arguments)
  local run = io.popen("cd " .. folder .. " && exec /proc/$PPID/exe " .. arguments .. " --accel kvm 2>&1")
  local text = run:read("a")
  t:assert(run:close(), text)
  return text
end

provium.before_each(function(t)
  folder = inner.project(t, {["base.fixture.lua"] = source})
end)

test("fixtures are built, explained, rebuilt and removed", function(t)
  local function state() return json.decode(command(t, "fixture list --json")).fixtures[1].state end
  t:assert_eq(state(), "not_built")
  command(t, "fixture build")
  t:assert_eq(state(), "cached")
  t:assert_eq(command(t, "fixture stale"), "")
  t:assert_contains(command(t, "fixture build"), "from the cache")
  t:assert_contains(command(t, "fixture rebuild"), "built in")
  write("base.fixture.lua", source .. "-- again\n")
  t:assert_eq(state(), "stale")
  t:assert_contains(command(t, "fixture why base"), "base.fixture.lua")
  t:assert_contains(command(t, "fixture stale"), "base: ")
  write("base.fixture.lua", source)
  t:assert_eq(state(), "cached")
  -- Nothing that it does needs a guest.
  local clean = io.popen("cd " .. folder .. " && exec /proc/$PPID/exe fixture clean base")
  t:assert_contains(clean:read("a"), "removed")
  t:assert(clean:close())
  t:assert_eq(state(), "not_built")
end)

test("machines are kept ready as --ready says", function(t)
  write("a.test.lua", [[
    test("counts", function(t)
      -- The first may be the guest that was built.
      provium:vm_fixture("base")
      provium:vm_fixture("base")
      local ready
      for _ = 1, 20 do
        local list = io.popen("ls -l /proc/$PPID/fd | grep -c anon_inode:kvm-vm$")
        ready = tonumber(list:read("l")) - 2
        list:close()
        if ready == 1 then break end
      end
      print("ready: " .. ready)
    end)
  ]])
  t:assert_contains(command(t, "-v --ready 1"), "ready: 1")
  t:assert_contains(command(t, "-v --ready 0"), "ready: 0")
end)

test("each round begins with guests as the file's own code left them", function(t)
  write("a.test.lua", [[
    local vm = provium:vm_fixture("base")
    vm:write_file("/run/rounds", "before")
    test("changes it", function(t)
      t:assert_eq(vm:read_file("/run/rounds"), "before")
      vm:write_file("/run/rounds", "after")
    end)
    test("goes on there", function(t) t:assert_eq(vm:read_file("/run/rounds"), "after") end)
  ]])
  local file = json.decode(command(t, "--json --repeat 3"):match('{"path"[^\n]+'))
  t:assert_eq(file.tests[1].attempts, 3)
  t:assert_eq(file.tests[2].attempts, 3)
end)

test("a matrix says where kernels differ", function(t)
  write("broken", ("\0"):rep(4096))
  write("a.test.lua", [[
    test("boots", function(t) provium:vm("web", "small"):boot() end)
    test("adds up", function(t) t:assert_eq(1 + 1, 2) end)
  ]])
  local guest = io.popen("cd ../../target/guest && pwd"):read("l")
  local line = "cd " .. folder .. " && exec /proc/$PPID/exe --accel kvm --matrix kernel=" .. guest .. "/vmlinux,broken "
  local function run(flags)
    local file = io.popen(line .. flags)
    local text = file:read("a")
    local _, _, code = file:close()
    return text, code
  end
  local text, code = run("")
  t:assert_eq(code, 1)
  t:assert_contains(text, "a.test.lua::boots\n      broken: ")
  t:assert_contains(text, "2 kernel(s); 1 test(s) differ, 0 failed on all, 1 are the same\n")
  local kernels = {}
  for object in run("--json"):gmatch("[^\n]+") do
    local file = json.decode(object)
    kernels[file.kernel] = file.passed
  end
  t:assert_eq(kernels, {[guest .. "/vmlinux"] = true, broken = false})
end)

test("what guests write to disks meets disk_max, and nothing that was written before is lost", function(t)
  local file <close> = assert(io.open(folder .. "/provium.toml"))
  write("provium.toml", (file:read("a"):gsub('cache_dir = "cache"', '%0\n    disk_max = "2M"')))
  write("a.test.lua", [[
    test("fills its disk", function(t)
      local vm = provium:vm("v", "small", {disks = {{id = "data", scratch = "16M"}}}):boot()
      vm:run("yes kept | dd of=/dev/vda bs=64k count=16 iflag=fullblock conv=fsync 2>&1"):assert_ok()
      t:assert_contains(vm:run("dd if=/dev/zero of=/dev/vda bs=64k seek=16 count=64 conv=fsync 2>&1").stdout, "Input/output error")
      vm:run("echo 3 > /proc/sys/vm/drop_caches; yes kept | head -c 1048576 | cmp - /dev/vda -n 1048576 2>&1"):assert_ok()
      vm:disk("data"):detach()
      local other = provium:vm("w", "small", {disks = {{id = "other", scratch = "16M"}}}):boot()
      other:run("dd if=/dev/zero of=/dev/vda bs=64k count=4 conv=fsync 2>&1"):assert_ok()
    end)
  ]])
  local text = command(t, "a.test.lua")
  t:assert_contains(text, "warning: disk `data`: a write of the guest's failed on the host, the guest sees an I/O error: what guests have written takes")
  t:assert_contains(text, "may take 2 MiB (`disk_max` in provium.toml)")
end)
