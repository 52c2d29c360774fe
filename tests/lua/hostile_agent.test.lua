-- A guest whose agent lies: each call fails in time with a clear error, the VM is dead and says why, and the tests
-- behind it run.

provium.timeout = "200s"

-- Boots a guest, makes a call that its agent answers with a lie, and looks at what is left of the VM.
local function lie(name, call, expected, cause)
  test(name, function(t)
    local vm = provium:vm("v", "hostile"):boot()
    t:assert_eq(vm:state(), "booted")
    local err = t:assert_raises(function() call(vm) end)
    t:assert_contains(err, "VM `v` ended during the call: ")
    t:assert_contains(err, expected)
    t:assert_eq(vm:state(), "dead")
    local again = t:assert_raises(function() vm:run("true") end)
    t:assert_contains(again, "VM `v` is dead (")
    t:assert_contains(again, cause or expected)
    -- Nothing of it is left to disturb another.
    vm:kill()
    t:assert_eq(vm:state(), "shutdown")
  end)
end

local function reads(word)
  return function(vm) vm:read_file("/" .. word) end
end

lie("a frame that is cut off", reads("truncated"), "the connection ended within a frame")
lie("a connection that is closed", reads("closes"), "the connection to the guest's agent is lost")
lie("a frame that is too long", reads("oversized"), "broke the protocol: a frame of 4294967299 bytes is over the limit")
lie("a reply that is garbage", reads("garbage"), "broke the protocol: malformed reply")
lie("a hello of another version in place of a reply", reads("hello"), "broke the protocol: a hello came where a reply was due")
lie("the reply to another request", reads("other"), "broke the protocol: expected no more than that it is done, got Offset")
lie("data on a channel that there is not", reads("channel"), "broke the protocol: data came on channel 9")
lie("data behind its reply", function(vm)
  vm:read_file("/reordered")
  vm:stat("/")
end, "broke the protocol: data came on channel 0")
lie("data without end", reads("endless"), "MiB for one answer")
lie("an agent that dies in the middle of its reply", reads("dies"), "panicked")

lie("silence where there is a limit", function(vm) vm:run("silent", {timeout = 1}) end, "did not answer within 31.0 s")
lie("a reply that never gets whole", function(vm) vm:run("drips", {timeout = 1}) end, "did not answer within 31.0 s")

test("an agent of another version ends the boot at once", function(t)
  local vm = provium:vm("v", "hostile-version")
  local err = t:assert_raises(function() vm:boot() end)
  t:assert_contains(err, "VM `v` did not boot: the guest runs an agent of protocol version")
  t:assert_contains(err, "(build 9.9.9)")
  t:assert_eq(vm:state(), "dead")
end)

test("another guest is none the worse for it", function(t)
  local vm = provium:vm("v", "small"):boot()
  t:assert_eq(vm:run("echo well").stdout, "well\n")
end)
