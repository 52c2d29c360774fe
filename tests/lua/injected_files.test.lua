-- The boot option `files`, and the kernel log.

local inner = require("inner")

test("an array of files", function(t)
  local binary = "\0\255\n" .. ("x"):rep(100000)
  local vm = provium:vm("v", "small"):boot({files = {
    {path = "/etc/app/deep/one", content = binary},
    {path = "/bin/hello", content = "#!/bin/sh\necho hello\n", mode = 493},
    {path = "/etc/passwd", content = "mine\n"},
    {path = "/from/host", host = "provium.toml"},
  }})
  t:assert_eq(vm:read_file("/etc/app/deep/one"), binary)
  t:assert_eq(vm:stat("/etc/app/deep/one").perm, 420)
  t:assert_eq(vm:run("hello").stdout, "hello\n")
  t:assert_eq(vm:read_file("/etc/passwd"), "mine\n")
  t:assert_contains(vm:read_file("/from/host"), "[profiles.small]")
end)

test("a map of files, kept by a second boot", function(t)
  local vm = provium:vm("v", "small", {files = {["/a/b"] = "provium.toml"}})
  provium:boot()
  t:assert_contains(vm:read_file("/a/b"), "[provium]")
  vm:reset()
  t:assert_contains(vm:read_file("/a/b"), "[provium]")
end)

test("below a root of its own", function(t)
  local vm = provium:vm("v", "debian"):boot({files = {{path = "/opt/mine/file", content = "here"}}})
  t:assert_eq(vm:read_file("/opt/mine/file"), "here")
end)

-- One entry of a cpio archive.
local function entry(name, mode, content)
  local head = ("070701%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x"):format(
    0, mode, 0, 0, 1, 0, #content, 0, 0, 0, 0, #name + 1, 0)
  local function padded(text) return text .. ("\0"):rep(-#text % 4) end
  return padded(head .. name .. "\0") .. padded(content)
end

test("below a link that the initrd brings", function(t)
  local initrd <close> = assert(io.open("../../target/guest/initrd.cpio", "rb"))
  local merged = entry("usr", 16877, "") .. entry("usr/lib", 16877, "") .. entry("lib", 41471, "usr/lib")
    .. entry("usr/lib/marker", 33188, "original") .. entry("TRAILER!!!", 0, "")
  local folder = inner.project(t, {
    ["merged.cpio"] = merged .. initrd:read("a"),
    ["merged.test.lua"] = [[
      test("x", function(t)
        local vm = provium:vm("v", "small", {files = {{path = "/lib/modules/6.1/tool.ko", content = "x"}}}):boot()
        t:assert_eq(vm:read_file("/usr/lib/modules/6.1/tool.ko"), "x")
        t:assert_eq(vm:read_file("/lib/marker"), "original")
      end)
    ]],
  })
  os.execute(("sed -i 's,^ *initrd = .*,initrd = \"merged.cpio\",' %s/provium.toml"):format(folder))
  local result = inner.result(folder .. "/merged.test.lua", "", "--config " .. folder .. "/provium.toml")
  t:assert(result.passed, json.encode(result))
end)

test("what cannot be is refused", function(t)
  for code, expected in pairs({
    ["{{path = '/a'}}"] = "entry 1: option `content`: is missing; give `content` or `host`",
    ["{{path = 'a', content = ''}}"] = "`a` is not an absolute path of a file",
    ["{{path = '/../a', content = ''}}"] = "`/../a` is not an absolute path",
    ["{{path = '/a', content = '', mode = 65536}}"] = "option `mode`: 65536 has more than permission bits",
    ["{{path = '/a', content = '', host = 'x'}}"] = "give `content` or `host`, not both",
    ["{{path = '/a', contents = ''}}"] = "unknown option `contents`; did you mean `content`?",
    ["{['/a'] = 'no/such/file'}"] = "no such file on the host",
    ["{['/a'] = 5}"] = "the value of `/a` is a number",
  }) do
    local err = t:assert_raises(function() provium:vm("x", "small", {files = load("return " .. code)()}) end)
    t:assert_contains(err, expected, code)
  end
end)

test("dmesg by a Lua pattern", function(t)
  local vm = provium:vm("v", "small"):boot()
  t:assert_contains(vm:dmesg(), "Linux version")
  t:assert(not vm:dmesg():find("^<%d+>"))
  vm:write_file("/dev/kmsg", "provium says a-b 42\n")
  t:assert_contains(vm:dmesg("a%-b %d+$"), "provium says a-b 42\n")
  t:assert_eq(vm:dmesg("nothing %d has this"), "")
  t:assert_contains(t:assert_raises(function() vm:dmesg("[a") end), "vm:dmesg: pattern `[a`")
end)

test("dmesg has the whole log, however long", function(t)
  local vm = provium:vm("v", "small", {kernel_cmdline_append = "log_buf_len=4M printk.devkmsg=on"}):boot()
  vm:write_file("/dev/kmsg", "the first of many\n")
  vm:run("head -c 1300000 /dev/zero | tr '\\0' x >/tmp/lines && dd if=/tmp/lines of=/dev/kmsg bs=900"):assert_ok()
  local log = vm:dmesg()
  t:assert(#log > 1300000, #log)
  t:assert_contains(log, "the first of many\n")
end)
