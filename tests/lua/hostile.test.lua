-- Arguments that make no sense, for every method of every object, on a real guest: an error that is a string or a result,
-- in time, and the VM answers afterwards. The names come from the reference, which a test of the runner keeps complete.

provium.timeout = "300s"

-- Every name there is, and those of each kind.
local names, kinds = {}, {}
for line in io.popen("cat ../../docs/reference/lua-api.md ../../docs/reference/api/*.md"):lines() do
  local kind, name = line:match("^| `(%l+):([%l_]+)%(")
  if kind then
    names[name] = true
    kinds[kind] = true
  end
end
-- What ends an object comes last.
local last = {close = 1, delete = 1, detach = 1, kill = 1, signal = 1, close_stdin = 1, power_cut = 1, shutdown = 1}
local sorted = {}
for name in pairs(names) do sorted[#sorted + 1] = name end
table.sort(sorted, function(a, b)
  if last[a] ~= last[b] then return not last[a] end
  return a < b
end)

local cyclic = {}
cyclic.args, cyclic.env, cyclic.stdin, cyclic.timeout, cyclic.bufs, cyclic[1] = cyclic, cyclic, cyclic, cyclic, cyclic, cyclic
-- No string here is a path that could be made.
local strange = {
  true, false, 0, -1, 1.5, 255, 2 ^ 31, 2 ^ 53, 2 ^ 63, -2 ^ 63, 1e300, 0 / 0, 1 / 0, -1 / 0, math.mininteger, math.maxinteger,
  "", "\0", "a\0b", "\255\254\0", ("x"):rep(5000), {}, {1, 2}, {[5] = 1}, {[-1] = {}}, {{{{{}}}}}, cyclic, print,
  function() error({}) end, coroutine.create(print), io.stdout, provium,
  setmetatable({}, {__index = error, __len = error, __pairs = error}), setmetatable({}, {__tostring = error}),
  {timeout = 0 / 0}, {timeout = -1}, {args = {{}}}, {args = cyclic}, {stdin = 7}, {cwd = "\0"}, {env = {[1] = 2}},
  {bufs = {1}, ptrs = "x"}, {nested = cyclic}, {bufs = {"x"}, ptrs = {9}}, {bufs = {("x"):rep(1000)}, ptrs = {[1] = -1}},
  {memory = -1}, {memory = 2 ^ 62}, {cpus = 2 ^ 40}, {size = 2 ^ 62}, {size = -1}, {mode = -1}, {mode = 2 ^ 40}, {read = 1},
  {thread = 1}, {from = 2 ^ 63}, {sectors = cyclic}, {offset = 0 / 0},
}

-- The same numbers in every run.
local state = 20261121
local function random(most)
  state = (state * 1103515245 + 12345) % 2147483648
  return (state >> 8) % most + 1
end

local function pick()
  return strange[random(#strange)]
end

-- What waits for as long as it is told to, or reads the agent's own input, may be right to take its time.
local function may_wait(name, first)
  if name == "sleep" then return math.type(first) and first > 1 end
  return name:find("syscall", 1, true) and math.type(first) and first == 0
end

local few = {barrier = true, claim = true}

local function try(kind, name, fn, object, ...)
  if may_wait(name, (...)) then return end
  local ok, err = pcall(fn, object, ...)
  if not ok and type(err) ~= "string" then
    -- An error of the caller's own, out of a function that was among the arguments, passes through as it is.
    assert(type(err) == "table" and next(err) == nil, kind .. ":" .. name .. " raised a " .. type(err))
  end
end

-- Calls every method that the object has, with all that is strange or only now and then with some of it; returns how many
-- methods it has.
local function attack(kind, object, without, now_and_then)
  local count = 0
  for _, name in ipairs(sorted) do
    local has, fn = pcall(function() return object[name] end)
    if has and type(fn) == "function" and not (without and without[name]) then
      count = count + 1
      for at, value in ipairs(strange) do
        if now_and_then and at % 20 ~= 0 then goto next end
        try(kind, name, fn, object, value)
        -- On what is no object of this kind at all.
        if value ~= provium then
          local ok, err = pcall(fn, value)
          assert(not ok and type(err) == "string", kind .. "." .. name .. " takes anything before the colon")
        end
        ::next::
      end
      for _ = 1, (few[name] or now_and_then) and 0 or 25 do
        local args = {}
        for at = 1, random(4) do args[at] = pick() end
        try(kind, name, fn, object, table.unpack(args))
      end
    end
  end
  return count
end

-- What ends a VM or stands still with it, on a VM of its own.
local ends = {
  boot = true, kill = true, close = true, shutdown = true, reset = true, power_button = true, restore = true, pause = true,
  resume = true, snapshot = true,
}
local attacked = {t = true} -- which would end this test; the runner's own tests do it

local vm = provium:vm("v", "small"):boot()

local function kind(name, make, without)
  attacked[name] = true
  test(name, function(t)
    local object = make(t)
    t:assert(attack(name, object, without) > 0)
    t:assert_eq(vm:state(), "booted")
    t:assert_eq(vm:run("echo well").stdout, "well\n")
  end)
end

kind("vm", function() return vm end, ends)
kind("worker", function() return vm:spawn_worker() end)
kind("result", function() return vm:run("true") end)
kind("console", function() return vm:console() end)
kind("proc", function() return vm:run_async("sleep 1") end)
kind("file", function()
  return vm:open_file("/tmp/hostile", {read = true, write = true, create = true})
end)
kind("handle", function() return vm:syscall_async(39) end)
kind("stream", function()
  local proc = vm:run_async("echo something")
  local stream = proc:stdout_stream()
  proc:wait()
  return stream
end)
attacked.b = true
test("b", function(t)
  -- A batch is there for its function only; what is right among all this is done behind it.
  vm:batch(function(b) t:assert(attack("b", b) > 0) end)
  t:assert_eq(vm:run("echo well").stdout, "well\n")
end)
kind("snapshot", function() return vm:snapshot() end)
if kinds.disk then
  kind("disk", function() return vm:attach_disk({id = "d", size = "1M"}) end)
end
kind("provium", function()
  local lab = provium:lab("inner")
  lab:vm("declared", "small")
  return lab
end)
if kinds.clock then
  kind("clock", function() return provium:vm("timeless", "small"):boot():clock() end)
end

test("what ends a VM", function(t)
  local other = provium:vm("other", "small"):boot()
  local all = {}
  for name in pairs(names) do all[name] = not ends[name] end
  t:assert(attack("vm", other, all, true) >= 9)
  t:assert_eq(vm:run("echo well").stdout, "well\n")
  other:close()
end)

test("every kind of the reference is among these", function(t)
  for name in pairs(kinds) do t:assert(attacked[name], name) end
end)
