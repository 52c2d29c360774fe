//! Open files, folders, batches and streams from Lua, against the real agent on this host, without a machine
//! around it.

use super::remote::all_pass;

#[test]
fn open_files() {
    all_pass(
        r#"
        -- Where a descriptor leads, if it is open. To close it again might close what another thread has opened.
        local function target(fd)
            local path, buffer = "/proc/self/fd/" .. fd .. "\0", ("."):rep(200)
            local r = vm:syscall(89, {args = {0, 0, 200}, bufs = {path, buffer}, ptrs = {0, 1}})
            return r.ret >= 0 and r.out_bufs[2]:sub(1, r.ret) or nil
        end
        test("a file", function(t)
            local path = dir .. "/file"
            local f = vm:open_file(path, {read = true, write = true, create = true, exclusive = true, perm = tonumber("600", 8)})
            t:assert_eq(vm:stat(path).perm, tonumber("600", 8))
            t:assert_eq(f:write("0123456789"), 10)
            t:assert_eq(f:tell(), 10)
            t:assert_eq(f:read(5), "")
            t:assert_eq(f:seek(2), 2)
            t:assert_eq(f:read(3), "234")
            t:assert_eq(f:seek(-1, "cur"), 4)
            t:assert_eq(f:read(0), "")
            t:assert_eq(f:read_all(), "456789")
            t:assert_eq(f:seek(-3, "end"), 7)
            t:assert_eq(f:read(100), "789")
            t:assert_eq(f:seek(1, "set"), 1)
            local fd = f:fd()
            t:assert(fd > 0)
            t:assert_eq(target(fd), path)
            t:assert_eq(vm:syscall(8, fd, 0, 1).ret, 1)
            t:assert_eq(vm:ioctl(f, 0x541B, ("\0"):rep(4)).out_data, "\9\0\0\0")
            t:assert_eq(tostring(f), "File `" .. path .. "` of VM `a`")
            f:close()
            f:close()
            t:assert_eq(f:fd(), 0)
            for _, use in ipairs({
                function() f:read(1) end, function() f:read_all() end, function() f:write("") end, function() f:seek(0) end,
                function() f:tell() end, function() f:tail_stream() end, function() vm:fd_stream(f) end, function() vm:ioctl(f, 0) end,
            }) do
                t:assert_contains(t:assert_raises(use), "file is closed")
            end
            t:assert(target(fd) ~= path, "still open")
        end)
        test("modes", function(t)
            local path = dir .. "/modes"
            local function raises(text, mode) t:assert_contains(t:assert_raises(function() vm:open_file(path, mode) end), text) end
            raises("No such file", {read = true})
            raises("No such file", {write = true})
            vm:open_file(path, {write = true, create = true}):write("one")
            raises("File exists", {write = true, create = true, exclusive = true})
            vm:open_file(path, {append = true}):write("two")
            t:assert_eq(vm:read_file(path), "onetwo")
            t:assert_contains(t:assert_raises(function() vm:open_file(path, {read = true}):write("x") end), "Bad file")
            vm:open_file(path, {write = true, truncate = true})
            t:assert_eq(vm:stat(path).size, 0)
        end)
        test("arguments", function(t)
            local f = vm:open_file("/dev/zero", {read = true})
            local function raises(text, fn) t:assert_contains(t:assert_raises(fn), text) end
            raises("file:read: how many bytes: expected an integer, got nil", function() f:read() end)
            raises("file:read: -1 is no number of bytes", function() f:read(-1) end)
            raises("file:write: expected a string to write, got nil", function() f:write() end)
            raises("file:seek: the offset: expected an integer, got nil", function() f:seek() end)
            raises("expected \"set\", \"cur\" or \"end\" as whence, got \"top\"", function() f:seek(0, "top") end)
            t:assert_eq(f:read(5), "\0\0\0\0\0")
            kept = f:fd()
        end)
        test("what a test leaves is closed with it", function(t)
            t:assert(target(kept) ~= "/dev/zero", "still open")
        end)
        "#,
    );
}

#[test]
fn folders_and_batches() {
    all_pass(
        r#"
        test("folders", function(t)
            vm:mkdir(dir .. "/a")
            t:assert_eq(vm:stat(dir .. "/a").perm, tonumber("755", 8))
            vm:mkdir(dir .. "/b/c/d", {parents = true, perm = tonumber("700", 8)})
            vm:mkdir(dir .. "/b/c/d", {parents = true})
            t:assert_contains(t:assert_raises(function() vm:mkdir(dir .. "/a") end), "File exists")
            t:assert_contains(t:assert_raises(function() vm:mkdir(dir .. "/no/a") end), "No such file")
            vm:write_file(dir .. "/a/\255", "")
            vm:run("ln -s nowhere link; mkfifo fifo; mkdir sub; echo x > file", {cwd = dir .. "/a"}):assert_ok()
            t:assert_eq(vm:listdir(dir .. "/a"), {
                {name = "fifo", entry_type = "fifo"}, {name = "file", entry_type = "file"}, {name = "link", entry_type = "symlink"},
                {name = "sub", entry_type = "directory"}, {name = "\255", entry_type = "file"},
            })
            vm:rename(dir .. "/a/file", dir .. "/a/sub/moved")
            vm:unlink(dir .. "/a/link")
            t:assert_eq(#vm:listdir(dir .. "/a"), 3)
            t:assert_eq(vm:read_file(dir .. "/a/sub/moved"), "x\n")
            t:assert_contains(t:assert_raises(function() vm:unlink(dir .. "/a/link") end), "No such file")
            t:assert_contains(t:assert_raises(function() vm:listdir(dir .. "/none") end), "No such file")
            t:assert_contains(t:assert_raises(function() vm:rename(dir .. "/none", dir .. "/x") end), "No such file")
            t:assert_eq(vm:listdir(dir .. "/b/c/d"), {})
        end)
        test("a batch", function(t)
            local large = ("x"):rep(3000000)
            local got = vm:batch(function(b)
                b:write_file(dir .. "/one", large)
                b:read_file(dir .. "/one")
                b:stat(dir .. "/missing")
                b:run("cat; echo err >&2; exit 3", {stdin = large})
                b:mkdir(dir .. "/sub")
                b:rename(dir .. "/one", dir .. "/sub/two")
                b:listdir(dir .. "/sub")
                b:stat(dir .. "/sub/two")
                b:run("sleep 100", {timeout = 0.1})
                b:syscall(3, -1)
                b:unlink(dir .. "/sub/two")
                b:run("no-such-program", {args = {}})
                b:read_file(dir .. "/sub/two")
            end)
            t:assert_eq(#got, 13)
            t:assert_eq(got[1], {ok = #large})
            t:assert(got[2].ok == large)
            t:assert_contains(got[3].err, "No such file")
            t:assert(got[4].ok.stdout == large)
            t:assert_eq({got[4].ok.stderr, got[4].ok.exit_code}, {"err\n", 3})
            t:assert_eq({got[5], got[6]}, {{ok = true}, {ok = true}})
            t:assert_eq(got[7].ok, {{name = "two", entry_type = "file"}})
            t:assert_eq(got[8].ok.size, #large)
            t:assert_eq(got[9].ok.timed_out, true)
            t:assert_eq(got[10].ok, {ret = -9, result = -1, errno = 9, out_bufs = {}})
            t:assert_eq(got[11], {ok = true})
            t:assert_contains(got[12].err, "No such file")
            t:assert_contains(got[13].err, "No such file")
            t:assert_eq(vm:batch(function() end), {})
            t:assert_contains(t:assert_raises(function() vm:batch(function(b) b:stat("/"); error("mine") end) end), "mine")
            t:assert_eq(vm:run("echo on").stdout, "on\n")
        end)
        "#,
    );
}

#[test]
fn streams_of_files_and_descriptors() {
    all_pass(
        r#"
        test("a file that grows", function(t)
            vm:write_file(dir .. "/log", "old\n")
            local tail = vm:tail_file(dir .. "/log")
            vm:run("echo one two >> log; echo three >> log", {cwd = dir})
            t:assert_eq(tail:read_until("one"), "one")
            t:assert_eq(tail:expect("two\n", 5), " two\n")
            t:assert_eq(tail:next("5s"), "three\n")
            t:assert_eq(tail:next(0), nil)
            t:assert_eq(tail:eof(), false)
            t:assert_eq(tail:creation_site(), {file = "a.test.lua", line = 4})
            vm:run("echo last >> log", {cwd = dir})
            local err = t:assert_raises(function() tail:read_until("never", 0.3) end)
            t:assert_contains(err, "a.test.lua:13: stream:read_until: read_until timed out waiting for `never`; the last bytes were \"last\\n\"")
            t:assert_contains(t:assert_raises(function() tail:expect("never", 0) end), "expect timed out waiting for `never`")
            t:assert_eq(table.concat(tail:drain(0.1)), "last\n")
            t:assert_contains(t:assert_raises(function() tail:next("x") end), "stream:next: timeout: `x` is not a duration")
            t:assert_contains(tostring(tail), "Tail of VM `a` (tail_file of " .. dir .. "/log)")
            tail:close()
            t:assert_eq({tail:next(), tail:drain(), tail:eof()}, {nil, {}, true})
            for _, use in ipairs({"read_until", "expect"}) do
                local err = t:assert_raises(function() tail[use](tail, "last") end)
                t:assert_contains(err, "stream:" .. use .. ": the stream is closed, so `last` cannot come")
            end
        end)
        test("starts", function(t)
            vm:write_file(dir .. "/starts", "0123456789")
            for start, expected in pairs({beginning = "0123456789", start = "0123456789", [3] = "3456789", [-2] = "89"}) do
                t:assert_eq(vm:tail_file(dir .. "/starts", {start = start}):next(), expected)
            end
        end)
        test("an open file", function(t)
            local f = vm:open_file(dir .. "/starts", {read = true})
            f:seek(6)
            t:assert_eq(f:tail_stream():next(), "6789")
            t:assert_eq(vm:fd_stream(f):next(), "6789")
            t:assert_eq(vm:fd_stream(f:fd()):read_until("8"), "678")
            t:assert_eq(f:tell(), 6)
        end)
        test("many lines", function(t)
            vm:run("seq 1 100000 > many", {cwd = dir})
            local tail = vm:tail_file(dir .. "/many", {start = 0})
            for at = 1, 20000 do
                if tail:read_until("\n") ~= at .. "\n" then t:fail("line " .. at) end
            end
            t:assert_eq(tail:read_until("\n100000\n"):sub(-8), "\n100000\n")
        end)
        "#,
    );
}

#[test]
fn asynchronous_system_calls() {
    all_pass(
        r#"
        test("a read that blocks", function(t)
            local r, w = string.unpack("i4i4", vm:syscall(22, {bufs = {("\0"):rep(8)}, ptrs = {0}}).out_bufs[1])
            local handle = vm:syscall_async(0, {args = {r, 0, 8}, bufs = {"........"}, ptrs = {1}})
            t:assert_eq(handle:done(), false)
            t:assert_contains(t:assert_raises(function() handle:await(0.1) end), "handle:await: the system call has not come back within 0.1s; it goes on")
            vm:syscall(1, {args = {w, 0, 2}, bufs = {"hi"}, ptrs = {1}})
            local expected = {ret = 2, result = 2, errno = 0, out_bufs = {"hi......"}}
            t:assert_eq(handle:await("20s"), expected)
            t:assert_eq(handle:await(), expected)
            t:assert(handle:done())
            t:assert_eq(vm:syscall_async(3, -1):await().errno, 9)
            vm:syscall(3, r)
            vm:syscall(3, w)
        end)
        "#,
    );
}
