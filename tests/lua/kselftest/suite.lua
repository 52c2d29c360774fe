-- A suite as the kernel's own are: ten programs of thirty cases, of which some do not pass. Run by kselftest.test.lua.

local vm = provium:vm_fixture("base")
local names = {"first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth", "tenth"}

local function file(name) return assert(io.open("kselftest/" .. name)):read("a") end

vm:mkdir("/suite")
vm:write_file("/runner.sh", file("runner.sh"))
for _, name in ipairs(names) do vm:write_file("/suite/" .. name, file("cases.sh")) end

test("ten programs", {spec = "K-1"}, function(t)
  local counts = vm:run("cd /suite && sh /runner.sh " .. table.concat(names, " ")):ktap()
  t:log(json.encode(counts))
end)

test("a program that dies", function(t)
  t:subtest("killed", function() vm:run("echo 1..2; echo ok 1 one; kill -9 $$"):ktap() end)
  t:subtest("silent", function() vm:run("true"):ktap() end)
  t:subtest("sour", function() vm:run("echo 1..1; echo ok 1 one; exit 3"):ktap() end)
  t:subtest("fine", function() vm:run("echo '1..0 # SKIP no root'; exit 4"):ktap() end)
end)
