-- Running programs and moving files.

local vm = provium:vm("guest", "small"):boot()

test("a line for the shell", function(t)
  local r = vm:run("echo hello | tr a-z A-Z")
  r:assert_ok()
  t:assert_eq(r.stdout, "HELLO\n")
end)

test("a program with arguments, untouched by any shell", function(t)
  t:assert_eq(vm:run("echo", {args = {"$HOME", "*"}}).stdout, "$HOME *\n")
end)

test("input, environment and folder", function(t)
  local r = vm:run("echo $GREETING from $PWD; cat", {
    env = {GREETING = "hello"},
    cwd = "/tmp",
    stdin = "and some input\n",
  })
  t:assert_eq(r.stdout, "hello from /tmp\nand some input\n")
end)

test("a command that fails says how", function(t)
  local r = vm:run("echo trouble >&2; exit 3")
  t:assert_eq(r.exit_code, 3)
  t:assert_eq(r.stderr, "trouble\n")
  local message = t:assert_raises(function() r:assert_ok() end)
  t:assert_contains(message, "trouble")
end)

test("a command that hangs is killed, and what it wrote is kept", function(t)
  local r = vm:run("echo before; sleep 100", {timeout = "500ms"})
  t:assert(r.timed_out)
  t:assert_eq(r.stdout, "before\n")
end)

test("files of any size and any bytes", function(t)
  local data = ("\0\1\2\255"):rep(500000)
  vm:write_file("/tmp/data", data)
  t:assert_eq(vm:stat("/tmp/data").size, #data)
  t:assert(vm:read_file("/tmp/data") == data, "the content came back changed")
end)
