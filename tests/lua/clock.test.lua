-- A guest's wall clock, and the time it starts with.

local vm = provium:vm("clock", "small", {initial_time = 1000000000}):boot()
local clock = vm:clock()

local function monotonic()
  local r = vm:syscall(228, {args = {1, 0}, bufs = {("\0"):rep(16)}, ptrs = {1}})
  local seconds, nanos = string.unpack("<i8i8", r.out_bufs[1])
  return seconds + nanos / 1e9
end

test("initial_time", function(t)
  local now = clock:get()
  t:assert(now >= 1000000000 and now < 1000000300, now)
  t:assert_eq(vm:run("date -u +%Y-%m-%d").stdout, "2001-09-09\n")
end)

test("set moves the wall clock and nothing else", function(t)
  local before = monotonic()
  clock:set(2000000000.5)
  local now = clock:get()
  t:assert(now >= 2000000000.5 and now < 2000000060, now)
  clock:set_ns(1500000000000000000)
  local ns = clock:get_ns()
  t:assert(math.type(ns) == "integer" and ns >= 1500000000000000000 and ns < 1500000060000000000, ns)
  clock:advance("1h")
  t:assert(clock:get() >= 1500003600)
  clock:advance(-7200)
  now = clock:get()
  t:assert(now >= 1500000000 - 3600 and now < 1500000000, now)
  t:assert(monotonic() - before < 60)
end)

test("sleep", function(t)
  local before = monotonic()
  clock:sleep("300ms")
  t:assert(monotonic() - before >= 0.3)
end)

test("errors", function(t)
  for call, expected in pairs({
    ["set(-1)"] = "clock:set: `-1` is not a time; it is seconds since 1970",
    ["set(0/0)"] = "is not a time",
    ["set_ns(-5)"] = "clock:set_ns: `-5` is not a time; it is nanoseconds since 1970",
    ["advance('x')"] = "clock:advance: `x` is not a duration",
    ["advance(-2e9)"] = "leaves what a clock can show",
    ["sleep(-1)"] = "clock:sleep: ",
  }) do
    local fn = load("local clock = ... return clock:" .. call)
    t:assert_contains(t:assert_raises(function() fn(clock) end), expected, call)
  end
  t:assert_contains(t:assert_raises(function() provium:vm("x", "small", {initial_time = "noon"}) end),
    "option `initial_time`: expected seconds since 1970, got string")
end)
