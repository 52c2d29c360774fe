-- Folders of the host in a guest: what each mode lets it do, and what a reset makes of them.

provium.timeout = "120s"
provium.reset_between_tests = true

local folder = os.tmpname()
os.remove(folder)
assert(os.execute("mkdir -p " .. folder .. "/sub"))

local function put(name, bytes)
  local file = assert(io.open(folder .. "/" .. name, "wb"))
  file:write(bytes)
  file:close()
end

local function get(name)
  local file = assert(io.open(folder .. "/" .. name, "rb"))
  local bytes = file:read("a")
  file:close()
  return bytes
end

put("file", "hello")
put("sub/file", "below")
put("open", "first line\nsecond line\n")
put("gone", "for now\n")

local vm = provium:vm("shares", "small", {shares = {
  {host = folder, guest = "/mnt/ro"},
  {host = folder, guest = "/mnt/rw", mode = "rw"},
  {host = folder, guest = "/mnt/over lay", mode = "overlay"},
}}):boot()

-- It has read a line of one file, has another open, and waits; tests make it go on.
vm:run("exec 3</mnt/ro/open 4</mnt/ro/gone; read a <&3; echo $a > /tmp/out; mkfifo /tmp/go; (read x < /tmp/go; cat <&3 >> /tmp/out; cat <&4 >> /tmp/out 2>&1; touch /tmp/done) > /dev/null 2>&1 &")

test("a folder can be read, and what the host changes is seen at once", function(t)
  t:assert_eq(vm:read_file("/mnt/ro/file"), "hello")
  t:assert_eq(vm:run("cat /mnt/ro/sub/file; ls /mnt/ro"):assert_ok().stdout, "belowfile\ngone\nopen\nsub\n")
  for round = 1, 5 do
    put("file", ("again"):rep(round))
    t:assert_eq(vm:read_file("/mnt/ro/file"), ("again"):rep(round))
  end
  t:assert_contains(vm:run("echo x > /mnt/ro/new").stderr, "Read-only file system")
  t:assert_contains(vm:run("cat /mnt/ro/../../mnt/ro/missing").stderr, "No such file")
end)

test("what is written to a folder is the host's", function(t)
  vm:run("cd /mnt/rw && mkdir d && echo one > d/a && echo two >> d/a && mv d/a d/b && ln d/b d/c && ln -s b d/l && rm d/c"):assert_ok()
  t:assert_eq(get("d/b"), "one\ntwo\n")
  t:assert_eq(vm:run("cat /mnt/rw/d/l; dd if=/dev/zero bs=1k count=300 2>/dev/null | tee /mnt/rw/d/big | wc -c"):assert_ok().stdout,
    "one\ntwo\n307200\n")
  t:assert_eq(get("d/big"), ("\0"):rep(307200))
  t:assert_contains(vm:run("mknod /mnt/rw/d/null c 1 3").stderr, "not permitted")
  vm:run("exec 3<>/mnt/rw/d/b; rm /mnt/rw/d/b; echo three >&3; rm -r /mnt/rw/d"):assert_ok()
  t:assert_raises(function() get("d/b") end)
end)

test("an overlay keeps what is written to itself", function(t)
  vm:run("cd '/mnt/over lay' && echo mine > file && rm sub/file && cat file"):assert_ok()
  t:assert_neq(get("file"), "mine\n")
  t:assert_eq(get("sub/file"), "below")
  t:assert_eq(vm:read_file("/mnt/over lay/file"), "mine\n")
end)

test("a file that was open at the reset goes on where it was", function(t)
  vm:run("echo go > /tmp/go"):assert_ok()
  vm:wait_for_file("/tmp/done", "20s")
  t:assert_eq(vm:read_file("/tmp/out"), "first line\nsecond line\nfor now\n")
  os.remove(folder .. "/gone")
  put("kept", "from the host")
end)

test("it is stale where the host has it no more, and what was written stays", function(t)
  t:assert_eq(vm:read_file("/mnt/ro/kept"), "from the host")
  vm:run("echo go > /tmp/go; echo from the guest > /mnt/rw/kept"):assert_ok()
  vm:wait_for_file("/tmp/done", "20s")
  local out = vm:read_file("/tmp/out")
  t:assert_contains(out, "first line\nsecond line\n")
  t:assert_contains(out, "tale")
end)

test("a resumed guest goes on as well, and a reset takes nothing back on the host", function(t)
  t:assert_eq(get("kept"), "from the guest\n")
  local saved = vm:snapshot()
  vm:kill():restore(saved)
  vm:run("echo go > /tmp/go"):assert_ok()
  vm:wait_for_file("/tmp/done", "20s")
  t:assert_contains(vm:read_file("/tmp/out"), "first line\nsecond line\n")
  t:assert_eq(vm:read_file("/mnt/ro/kept"), "from the guest\n")
end)

test("what cannot be shared is refused before the boot", function(t)
  local function message(share)
    local error = t:assert_raises(function() provium:vm("no", "small", {shares = {share}}) end)
    return tostring(error)
  end
  t:assert_contains(message{host = folder .. "/missing", guest = "/mnt"}, "no such file")
  t:assert_contains(message{host = folder .. "/file", guest = "/mnt"}, "is not a folder")
  t:assert_contains(message{host = folder, guest = "/proc"}, "the guest has its own there")
  t:assert_contains(message{host = folder, guest = "/mnt", mode = "rx"}, "`rx` is none of")
  -- A folder of the machine outside that an emulated host was not given to write to.
  if os.getenv("PROVIUM_EMULATED_HOST") then
    t:assert_contains(message{host = "/var/lib", guest = "/mnt", mode = "rw"}, "would be lost")
  end
end)

test("a folder is copied in and out", function(t)
  put("sub/deep", "deep")
  os.execute("ln -s deep " .. folder .. "/sub/link && chmod 750 " .. folder .. "/sub/deep")
  vm:push_dir(folder, "/tmp/in/here")
  t:assert_eq(vm:run("cd /tmp/in/here && cat sub/link && readlink sub/link && stat -c %a sub/deep"):assert_ok().stdout, "deepdeep\n750\n")
  local out = folder .. "/out"
  vm:pull_dir("/tmp/in/here", out)
  t:assert_eq(get("out/sub/link"), "deep")
  t:assert_eq(os.execute("test -L " .. out .. "/sub/link && test -x " .. out .. "/sub/deep"), true)
  local again = t:assert_raises(function() vm:pull_dir("/tmp/in/here", out) end)
  t:assert_contains(tostring(again), "is there already")
  t:assert_contains(tostring(t:assert_raises(function() vm:push_dir(folder .. "/file", "/tmp/x") end)), "is not a folder")
end)
