-- Events of VMs, read by a program in another language which checks that their pairs close.

test("every VM that runs has an end, and says how it came to run", {timeout = "120s"}, function(t)
  local events = os.tmpname()
  t:defer(function() os.remove(events) end)
  local run = io.popen("exec /proc/$PPID/exe -q --accel kvm --save-events " .. events .. " inner/events.lua 2>&1")
  local report = run:read("a")
  run:close()
  local reader = io.popen("python3 ../../runner/tests/readers/events.py " .. events .. " 2>&1")
  local lines, kinds = {}, {}
  for line in reader:lines() do
    local frame = json.decode(line)
    lines[#lines + 1] = frame
    kinds[frame.kind] = (kinds[frame.kind] or 0) + 1
  end
  t:assert(reader:close(), report)
  local how, ends = {}, {}
  for _, frame in ipairs(lines) do
    local of = frame.payload
    if frame.kind == "vm_spawned" then
      t:assert_eq({of.file, of.vm_name, of.memory_bytes}, {"inner/events.lua", "base", 128 << 20})
      how[#how + 1] = of.how
    elseif frame.kind == "vm_shutdown" or frame.kind == "vm_died" then
      ends[#ends + 1] = frame.kind
    end
  end
  t:assert_eq(how, {"resume", "reset", "reset", "boot"})
  t:assert_eq(ends, {"vm_shutdown", "vm_shutdown", "vm_died", "vm_shutdown"})
  -- Whoever comes first builds the fixture.
  local told = (kinds.fixture_cache_hit or 0) + (kinds.fixture_build_done or 0) + (kinds.fixture_build_waiting or 0)
  t:assert(told > 0, "nothing is said of the fixture")
  t:assert_eq(kinds.run_ended, 1)
end)
