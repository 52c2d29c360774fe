-- Fixtures: built once, resumed as often as anybody likes.

provium.timeout = "120s"

test("a fixture is a running guest as its source left it", function(t)
  local vm = provium:vm_fixture("base")
  t:assert_eq(vm:state(), "booted")
  t:assert_eq(vm:profile(), "small")
  t:assert_eq(vm:read_file("/run/mark"), "built\n")
  t:assert_contains(vm:read_file("/run/pushed"), "[profiles.small]")
  vm:run("sleep 0.05"):assert_ok()
end)

test("a dot does as well as a colon", function(t)
  t:assert_eq(provium.vm_fixture("base"):read_file("/run/mark"), "built\n")
  t:assert_eq(provium.lab_fixture("pair"):vm_names(), {"one", "two"})
  local lab = provium:lab("inner")
  local vm = lab.vm_fixture("base")
  t:assert(lab:vm_names()[1] == vm:name())
end)

test("a name that a fixture's VM has is refused with the fixture's", function(t)
  local vm = provium:lab("named"):vm_fixture("base")
  local err = t:assert_raises(function() provium.named:vm(vm:name(), "small") end)
  t:assert_contains(err, "the name `" .. vm:name() .. "` is taken: fixture `base` gave it to its VM (fixtures.test.lua:")
end)

test("each guest of a fixture is its own", function(t)
  local one, two = provium.fixture("base"), provium.fixture("base")
  t:assert_neq(one:name(), two:name())
  one:write_file("/run/mark", "changed")
  t:assert_eq(two:read_file("/run/mark"), "built\n")
  t:assert_eq(one:read_file("/run/build"), two:read_file("/run/build"), "both come from one build")
  local draw = "head -c 16 /dev/urandom | md5sum"
  t:assert_neq(one:run(draw).stdout, two:run(draw).stdout)
end)

test("a guest that another test has left is as good as new", function(t)
  for _ = 1, 5 do
    local vm = provium.fixture("base")
    t:assert_eq(vm:read_file("/run/mark"), "built\n")
    vm:write_file("/run/mark", "used")
    vm:close()
  end
end)

test("fixtures stack", function(t)
  local vm = provium:vm_fixture("stacked")
  t:assert_eq(vm:read_file("/run/mark"), "built\nstacked\n")
end)

test("a lab comes back whole", function(t)
  local lab = provium:lab_fixture("pair")
  t:assert_eq(lab:vm_names(), {"one", "two"})
  t:assert_eq(lab.one:read_file("/run/name"), "one")
  t:assert_eq(lab.two:read_file("/run/name"), "two")
end)

test("what is no fixture, or not that kind, is named", function(t)
  t:assert_contains(t:assert_raises(function() provium:vm_fixture("bas") end), "base")
  t:assert_contains(t:assert_raises(function() provium:vm_fixture("pair") end), "provium:lab_fixture(\"pair\")")
  t:assert_contains(t:assert_raises(function() provium:lab_fixture("base") end), "provium:vm_fixture(\"base\")")
  t:assert_contains(t:assert_raises(function() provium.fixture(7) end), "expected a string as the fixture's name")
end)

test("a board's reset line boots what the fixture had booted", function(t)
  local vm = provium.fixture("base")
  vm:reset()
  t:assert_raises(function() vm:read_file("/run/mark") end)
end)
