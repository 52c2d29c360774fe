-- vm:run on a real guest: every shape, every field. What needs no guest is tested beside the code.

local vm = provium:vm("run", "small"):boot()

test("the shell form", function(t)
  local r = vm:run("echo hello | tr a-z A-Z")
  t:assert_eq(r.stdout, "HELLO\n")
  t:assert_eq({r.stderr, r.exit_code, r.status, r.timed_out}, {"", 0, "exited", false})
  t:assert_eq(r.signal, nil)
  t:assert(r:ok())
  t:assert(r:assert_ok() == r)
  t:assert(r.duration > 0 and r.duration < 60, r.duration)
end)

test("direct execution in each of its forms", function(t)
  t:assert_eq(vm:run("echo", {args = {"a b", "$HOME", "*"}}).stdout, "a b $HOME *\n")
  t:assert_eq(vm:run("echo", {"a b", "c"}).stdout, "a b c\n")
  t:assert_eq(vm:run({"echo", "x"}).stdout, "x\n")
  t:assert_eq(vm:run("echo", {}).stdout, "\n")
  t:assert_eq(vm:spawn_worker():run("echo", {}).stdout, "\n")
  t:assert_contains(t:assert_raises(function() vm:run("echo x | cat", {}) end), "`{}` too, it is a program's name")
end)

test("env, env_clear, cwd and stdin", function(t)
  t:assert_eq(vm:run("echo $FOO:$PATH", {env = {FOO = "bar", PATH = "/bin"}}).stdout, "bar:/bin\n")
  t:assert_eq(vm:run("env", {args = {}, env = {A = "1"}, env_clear = true}).stdout, "A=1\n")
  t:assert_eq(vm:run("pwd", {cwd = "/etc"}).stdout, "/etc\n")
  t:assert_eq(vm:run("cat", {stdin = "hello\n"}).stdout, "hello\n")
  t:assert_eq(vm:run("cat").stdout, "")
end)

test("exit codes and signals", function(t)
  t:assert_eq(vm:run("exit 7").exit_code, 7)
  local r = vm:run("kill -TERM $$")
  t:assert_eq({r.exit_code, r.status, r.signal}, {-1, "signalled", 15})
  t:assert_contains(t:assert_raises(function() r:assert_ok() end), "SIGTERM")
end)

test("a timeout kills the whole process group", function(t)
  for _, limit in ipairs({{timeout_ms = 300}, {timeout = 0.3}, {timeout = "300ms"}}) do
    local r = vm:run("echo early; sleep 1000 & sleep 1000", limit)
    t:assert_eq({r.exit_code, r.status, r.timed_out, r.stdout}, {-2, "timed_out", true, "early\n"})
    t:assert_eq(r.signal, nil)
  end
  t:assert_eq(vm:run("pidof sleep").stdout, "")
end)

test("a background child does not hold the command", function(t)
  local r = vm:run("sleep 1000 & echo $!")
  t:assert(r:ok())
  vm:run("kill " .. r.stdout):assert_ok()
end)

test("large output and large input, both at once", function(t)
  local data = ("0123456789abcdef"):rep(1 << 17) -- 2 MiB
  t:assert(vm:run("cat", {stdin = data}).stdout == data)
  local r = vm:run("head -c 1000000 /dev/zero; head -c 1000000 /dev/zero >&2", {stdin = data})
  t:assert_eq({#r.stdout, #r.stderr}, {1000000, 1000000})
end)

test("a program that is not there", function(t)
  local err = t:assert_raises(function() vm:run("no-such-program", {args = {}}) end)
  t:assert_contains(err, "run.test.lua:62: vm:run: VM `run`: ")
  t:assert_contains(err, "no-such-program")
  t:assert_eq(vm:run("no-such-program").exit_code, 127)
  t:assert_contains(t:assert_raises(function() vm:run("pwd", {cwd = "/no/such"}) end), "/no/such")
end)

test("wrong calls never reach the guest", function(t)
  t:assert_contains(
    t:assert_raises(function() vm:run() end),
    "vm:run: expected a string or an array as command, got nil"
  )
  t:assert_contains(
    t:assert_raises(function() vm:run("ls", {timout = 1}) end),
    "vm:run: unknown option `timout`; did you mean `timeout`?"
  )
end)

test("orphans are reaped", function(t)
  vm:run("(sleep 0.1 &) ; true"):assert_ok()
  wait_until(function()
    return not vm:run("ps -o stat"):assert_ok().stdout:find("Z")
  end, {desc = "no zombie left"})
end)
