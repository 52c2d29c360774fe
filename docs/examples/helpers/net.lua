-- What docs/how-to/writing-tests.md requires as an example of a helper.
local net = {}

function net.expect_answer(t, vm, address)
  t:assert_contains(vm:run("ping", {args = {"-c", "1", address}}):assert_ok().stdout, "1 packets received")
end

return net
