-- Labs with VMs in them: what acts on all, what acts on one lab, what a test may do to the file's labs.

provium.timeout = "120s"
provium.reset_between_tests = true

provium:claim({memory = "512M", cpus = 2})

local outer = provium:vm_fixture("base")
local lab = provium:lab("lab")
local first = lab:vm_fixture("base")
local second = lab:vm_fixture("base")

local function states(of)
  local found = {}
  for at, name in ipairs(of:vm_names()) do found[at] = of[name]:state() end
  return found
end

test("a lab acts on its own VMs", function(t)
  t:assert_eq(lab:vm_names(), {"base", "base-2"})
  t:assert(lab.base == first and provium.base == outer)
  t:assert(lab:pause() == lab)
  t:assert_eq(states(lab), {"paused", "paused"})
  t:assert_eq(outer:state(), "booted")
  lab:resume()
  t:assert_eq(second:read_file("/run/mark"), "built\n")
  outer:pause()
  t:assert_eq(states(lab), {"booted", "booted"})
end)

test("the reset reaches labs in labs", function(t)
  t:assert_eq(outer:state(), "booted")
  first:write_file("/run/mark", "changed")
  second:kill()
end)

test("and so they are as before", function(t)
  t:assert_eq(first:read_file("/run/mark"), "built\n")
  t:assert_eq(second:read_file("/run/mark"), "built\n")
end)

test("a lab is saved with the labs inside it", function(t)
  local both = provium:lab("both"):include({outer, lab, provium:vm("idle", "small")})
  first:write_file("/run/mark", "later")
  local folder = os.tmpname()
  os.remove(folder)
  t:assert_eq(both:snapshot(folder), folder)
  local snapshot = both:snapshot()
  t:assert_eq(tostring(snapshot), "LabSnapshot of 3 VM(s)")
  for _, saved in ipairs({snapshot, folder}) do
    outer:write_file("/run/mark", "last")
    first:write_file("/run/mark", "last")
    second:kill()
    both:restore(saved)
    t:assert_eq(outer:read_file("/run/mark"), "built\n")
    t:assert_eq(first:read_file("/run/mark"), "later")
    t:assert_eq(second:read_file("/run/mark"), "built\n")
  end
  local other = provium:lab("other"):include(outer)
  t:assert_contains(t:assert_raises(function() other:restore(snapshot) end), "the snapshot has a VM `lab/base`")
  os.execute("rm -r " .. folder)
end)

test("in a test provium saves and ends what is the test's", function(t)
  t:assert_contains(t:assert_raises(function() provium:snapshot() end), "there is nothing to save: the lab has no VM")
  provium:shutdown()
  t:assert_eq({outer:state(), first:state()}, {"booted", "booted"})
end)

test("VMs of two labs at one instant", function(t)
  local all = provium:lab():include({second, outer})
  t:assert_contains(t:assert_raises(function() all:include(first) end), "the name `base` is taken")
  local snapshot = all:snapshot()
  t:assert(snapshot:size() > 0)
  for _, vm in ipairs(all:members()) do vm:write_file("/run/mark", "later") end
  all:restore(snapshot)
  for _, vm in ipairs(all:members()) do t:assert_eq(vm:read_file("/run/mark"), "built\n") end
end)

local ended

test("a VM in the file's lab ends with its test", function(t)
  ended = lab:vm("mine", "small")
  local own = provium:lab("own")
  own:vm("twin", "small")
  own:include(ended)
  own:boot()
  t:assert_eq(states(own), {"booted", "booted"})
  own:shutdown()
  t:assert_eq(states(own), {"shutdown", "shutdown"})
  ended:boot()
end)

test("and is gone", function(t)
  t:assert_eq(lab:vm_names(), {"base", "base-2"})
  t:assert_eq(provium.own, nil)
  t:assert_contains(t:assert_raises(function() ended:run("true") end), "VM `mine` is closed")
end)

test("two callers meet between their commands", function(t)
  local order = {}
  local function caller(vm, name)
    return coroutine.wrap(function()
      vm:write_file("/run/" .. name, name)
      order[#order + 1] = name .. " came"
      provium:barrier("meet", 2)
      order[#order + 1] = name .. " left"
      return vm:read_file("/run/" .. name)
    end)
  end
  local a, b = caller(first, "a"), caller(second, "b")
  a()
  a()
  t:assert_eq(b(), "b")
  t:assert_eq(a(), "a")
  t:assert_eq(order, {"a came", "b came", "b left", "a left"})
end)
