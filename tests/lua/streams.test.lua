-- Files that grow and descriptors, as streams.

provium.timeout = "180s"

local vm = provium:vm_fixture("base")

-- Reads so many bytes of a stream, now and then slowly, and returns their md5.
local function digest(stream, size, pause)
  local parts, have = {}, 0
  while have < size do
    local bytes = stream:next("20s")
    assert(bytes, "after " .. have .. " of " .. size .. " bytes there came no more")
    parts[#parts + 1] = bytes
    have = have + #bytes
    if pause and #parts % 8 == 0 then vm:run("sleep 0.01") end
  end
  assert(have == size, have .. " bytes came where " .. size .. " were due")
  return vm:run("md5sum", {args = {}, stdin = table.concat(parts)}).stdout:match("%x+")
end

test("what is added to a file", function(t)
  vm:write_file("/tmp/log", "old\n")
  local tail = vm:tail_file("/tmp/log")
  t:assert_eq(tail:next(0.2), nil)
  vm:run("echo new >> /tmp/log")
  t:assert_eq(tail:read_until("\n"), "new\n")
  vm:run("echo a >> /tmp/log; echo b >> /tmp/log; echo c >> /tmp/log")
  t:assert_eq(tail:read_until("b\n"), "a\nb\n")
  t:assert_eq(tail:expect("c"), "c")
  t:assert_eq(tail:read_until("\n"), "\n")
  t:assert_eq(tail:eof(), false)
  t:assert_eq(tail:creation_site().file, "streams.test.lua")
  tail:close()
  tail:close()
  t:assert_eq({tail:next(), tail:drain(), tail:eof()}, {nil, {}, true})
end)

test("where a stream of a file starts", function(t)
  vm:write_file("/tmp/starts", "0123456789")
  for start, expected in pairs({beginning = "0123456789", start = "0123456789", [0] = "0123456789", [4] = "456789", [-3] = "789"}) do
    t:assert_eq(vm:tail_file("/tmp/starts", {start = start}):next(), expected, start)
  end
  t:assert_eq(vm:tail_file("/tmp/starts", {start = "end"}):next(0.2), nil)
end)

test("a file written at full speed and renamed again and again", function(t)
  vm:run("rm -f /tmp/full*; : > /tmp/full"):assert_ok()
  local tail = vm:tail_file("/tmp/full", {start = "beginning"})
  local writer = vm:run_async([[
    cd /tmp
    for n in 1 2 3 4; do
      head -c 3000000 /dev/urandom | tee -a all.$n >> full
      mv full full.$n
      : > full
    done
    head -c 3000000 /dev/urandom | tee all.5 >> full
    cat all.1 all.2 all.3 all.4 all.5 | md5sum
  ]])
  local got = digest(tail, 15000000, true)
  t:assert_eq(got, writer:wait("60s"):assert_ok().stdout:match("%x+"))
  t:assert_eq(tail:next(0.2), nil)
  vm:run("rm -f /tmp/full* /tmp/all*")
end)

test("a file that is truncated when it has been read", function(t)
  local writer = vm:run_async([[
    cd /tmp
    rm -f cut cut.all
    for n in 1 2 3 4; do
      head -c 2000000 /dev/urandom > piece
      cat piece >> cut.all
      cat piece >> cut
      echo written
      read go
      : > cut
    done
    md5sum < cut.all
  ]])
  local out = writer:stdout_stream()
  local tail
  local sum = vm:open_file("/tmp/cut.got", {write = true, create = true, truncate = true})
  for n = 1, 4 do
    out:expect("written", "30s")
    tail = tail or vm:tail_file("/tmp/cut", {start = "beginning"})
    local have = 0
    while have < 2000000 do
      local bytes = tail:next("20s")
      t:assert(bytes, "piece " .. n .. ": nothing came after " .. have)
      sum:write(bytes)
      have = have + #bytes
    end
    t:assert_eq(have, 2000000)
    writer:stdin_write("go\n")
    wait_until(function() return n == 4 or vm:stat("/tmp/cut").size ~= 2000000 or out:next(0.01) end)
  end
  local expected = writer:wait("60s"):assert_ok().stdout:match("(%x+)  %-")
  t:assert_eq(vm:run("md5sum < /tmp/cut.got").stdout:match("%x+"), expected)
end)

test("a slow reader holds nobody up", function(t)
  vm:write_file("/tmp/slow", "")
  local tail = vm:tail_file("/tmp/slow")
  local r = vm:run("head -c 30000000 /dev/zero > /tmp/slow; md5sum < /tmp/slow", {timeout = "60s"})
  t:assert_eq(vm:run("echo still here").stdout, "still here\n")
  t:assert_eq(digest(tail, 30000000), r.stdout:match("%x+"))
  vm:unlink("/tmp/slow")
end)

test("a text in the midst of much else", function(t)
  vm:run("yes 0123456789 | head -n 400000 > /tmp/much; echo needle >> /tmp/much; echo rest >> /tmp/much")
  local tail = vm:tail_file("/tmp/much", {start = "beginning"})
  t:assert_eq(#tail:read_until("needle\n", "60s"), 400000 * 11 + 7)
  t:assert_eq(tail:next(), "rest\n")
end)

test("a fifo by its descriptor", function(t)
  vm:run("rm -f /tmp/fifo; mkfifo /tmp/fifo"):assert_ok()
  local fifo = vm:open_file("/tmp/fifo", {read = true, write = true})
  local stream = vm:fd_stream(fifo)
  vm:run("echo through the fifo > /tmp/fifo")
  t:assert_eq(stream:read_until("\n"), "through the fifo\n")
  fifo:write("by itself\n")
  t:assert_eq(stream:read_until("\n"), "by itself\n")
  t:assert_eq(stream:next(0.1), nil)
end)

test("a pipe's end", function(t)
  local fds = vm:syscall(22, {bufs = {("\0"):rep(8)}, ptrs = {0}}).out_bufs[1]
  local r, w = string.unpack("i4i4", fds)
  local stream = vm:fd_stream(r)
  vm:syscall(1, {args = {w, 0, 5}, bufs = {"bytes"}, ptrs = {1}})
  t:assert_eq(stream:next(), "bytes")
  t:assert_eq(stream:eof(), false)
  vm:syscall(3, w)
  t:assert_eq(stream:next(), nil)
  t:assert(stream:eof())
  vm:syscall(3, r)
end)

test("closing a stream with data under way is no news on the console", function(t)
  for _ = 1, 5 do
    local zeros = vm:open_file("/dev/zero", {read = true})
    local stream = vm:fd_stream(zeros)
    t:assert_neq(stream:next(), nil)
    stream:close()
    zeros:close()
    local writer = vm:run_async("yes")
    local out = writer:stdout_stream()
    t:assert_neq(out:next(), nil)
    out:close()
    writer:kill("kill")
    writer:wait(20)
  end
  vm:run("sleep 0.3")
  local log = vm:console():read_log()
  t:assert(not log:find("provium-agent:", 1, true), log)
end)

test("a file's own stream leaves the position alone", function(t)
  vm:write_file("/tmp/own", "0123456789")
  local f = vm:open_file("/tmp/own", {read = true, write = true})
  f:seek(4)
  local stream = f:tail_stream()
  t:assert_eq(stream:read_until("9"), "456789")
  t:assert_eq(f:tell(), 4)
  f:seek(0, "end")
  f:write("abc")
  t:assert_eq(stream:read_until("c"), "abc")
  t:assert_eq({vm:open_file_count(), vm:open_stream_count()}, {1, 1})
end)

test("what a test leaves open is closed with it", function(t)
  t:assert_eq({vm:open_file_count(), vm:open_stream_count()}, {0, 0})
  vm:snapshot()
end)
