-- The assertions, seen from inside; their failures are tested beside the code. No VM.

test("what holds, holds", function(t)
  t:assert_eq(t:assert("value"), "value")
  t:assert_eq({1, {a = "x"}}, {1, {a = "x"}})
  t:assert_neq({1}, {2})
  t:assert_contains("a.b", ".")
  t:assert_eq(t.name, "what holds, holds")
  t:assert_eq(t.meta, {})
end)

test("metadata", {tags = {"fast"}, spec = "4.2", owner = "me"}, function(t)
  t:assert_eq(t.meta.spec, "4.2")
  t:assert_eq(t.meta.owner, "me")
end)

test("assert_raises returns the error as it was raised", function(t)
  local object = {code = 7}
  t:assert(t:assert_raises(function() error(object) end) == object)
  t:assert_contains(t:assert_raises(function() error("text") end), "assertions.test.lua:20: text")
end)

test("skipped from inside", function(t)
  t:skip("to show that it can be")
end)

test("not written yet", function()
  todo("waiting for a reason")
end)

test("skipped from outside", {skip = "never needed"}, function()
  error("this does not run")
end)

test("wait_until returns what the condition returned", function(t)
  local n = 0
  t:assert_eq(wait_until(function() n = n + 1 return n == 3 and "third" end, {interval = 0.01}), "third")
  local err = t:assert_raises(function()
    wait_until(function() end, {timeout = 0.05, interval = 0.01, desc = "the impossible"})
  end)
  t:assert_contains(err, "wait_until: the impossible not met within 0.05s")
end)

test("json", function(t)
  local value = {name = "x", list = {1, 2.5, false}, big = math.maxinteger}
  t:assert_eq(json.decode(json.encode(value)), value)
end)
