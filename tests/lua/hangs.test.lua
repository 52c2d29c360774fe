-- Where the vCPUs of a guest stood whose test met its limit: the tests of inner/hangs.lua all fail, and this looks how.

provium.timeout = "400s"

local found = require("inner").tests("inner/hangs.lua")

-- An idle vCPU of our kernel, with the file and line of its own debug information.
local IDLE = "halted, at pv_native_safe_halt%+0x%x+/0x%x+ %(arch/x86/[%w/_.]+:%d+"

test("an idle guest is halted", function(t)
  local message = found["a guest waits for nothing"].message
  t:assert_contains(message, "timed out after 3s, waiting in vm:run")
  t:assert(message:find("VM `g`: vCPUs 0%-1 were " .. IDLE), message)
end)

test("a guest whose programs loop is in them", function(t)
  local message = found["a program of the guest loops"].message
  t:assert(message:find("VM `b`: vCPU 0 was in a program, at 0x%x+"), message)
end)

test("a boot that does not end", function(t)
  local message = found["a boot does not end"].message
  t:assert_contains(message, "did not answer within 8 s")
  t:assert(message:find("VM `s`: vCPU 0 was " .. IDLE), message)
end)

test("a boot that meets the limit of the test", function(t)
  local message = found["a boot meets the limit of the test"].message
  t:assert_contains(message, "timed out after 8s, waiting in vm:boot")
  -- A busy host has not come as far as the idle loop by then.
  t:assert(message:find("VM `s`: vCPU 0 was halted, at ") or message:find("VM `s`: vCPU 0 was in the kernel, at "), message)
end)
