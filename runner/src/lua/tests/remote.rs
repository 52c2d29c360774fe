//! `run`, files and system calls from Lua, against the real agent on this host, without a machine around it.

use std::cell::RefCell;
use std::rc::Rc;

use provium_guest::{Epoch, GuestClient, Timeline, local_agent::LocalAgent};

use super::*;
use crate::lua::api::binding::{Kind, Listed, Method};
use crate::lua::api::call::Call;
use crate::lua::api::raise::Raise;
use crate::lua::objects::agent::{self, Question};
use crate::lua::objects::remote::Remote;
use crate::lua::start::run_prepared;
use crate::lua::tables;

/// A userdata with nothing but what every remote has.
#[derive(Clone)]
struct Agent(Rc<RefCell<GuestClient>>, LocalAgent);

impl Listed for Agent {}

impl Kind for Agent {
    const NAME: &'static str = "Agent";
    const PREFIX: &'static str = "vm";

    fn methods() -> Vec<Method<Agent>> {
        tables::remote()
    }

    fn describe(&self) -> String {
        "Agent".to_owned()
    }

    fn same(&self, other: &Agent) -> bool {
        Rc::ptr_eq(&self.0, &other.0)
    }
}

impl agent::Agent for Agent {
    fn question(&self, call: &Call<'_>, question: Question<'_>) -> Result<(), Raise> {
        question(&mut self.0.borrow_mut()).map_err(|error| call.fail(error))
    }

    fn settle(&self, _cancel: &Arc<Cancel>, question: Question<'_>) {
        question(&mut self.0.borrow_mut()).expect("it lets go");
    }

    fn session(&self, _call: &Call<'_>) -> Result<GuestClient, Raise> {
        Ok(self.1.session())
    }

    fn now(&self) -> Epoch {
        Timeline::default().now()
    }

    fn holds(&self, _moment: Epoch) -> bool {
        true
    }

    fn vm(&self) -> String {
        "a".to_owned()
    }

    fn shown(&self) -> String {
        "VM `a`".to_owned()
    }

    fn is_gone(&self) -> bool {
        false
    }
}

impl Remote for Agent {
    fn is_classic(&self) -> bool {
        false
    }

    fn agent(&self) -> Rc<dyn agent::Agent> {
        Rc::new(self.clone())
    }
}

/// Runs a file whose global `vm` is an agent on this host and whose global `dir` is an empty folder.
pub(super) fn run_with_agent(source: &str) -> FileResult {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let scratch = tempfile::tempdir().expect("a temporary folder");
    run_prepared(&job(dir.path(), source), &silent(), |lua| {
        let local = LocalAgent::default();
        let vm = Agent(Rc::new(RefCell::new(local.session())), local).into_userdata(lua)?;
        lua.globals().set("vm", vm)?;
        lua.globals().set("dir", scratch.path().to_str())
    })
}

/// Runs a file as [`run_with_agent`] does; every test of it must pass.
#[track_caller]
pub(super) fn all_pass(source: &str) {
    let result = run_with_agent(source);
    assert_eq!(result.chunk_error, None);
    for test in &result.tests {
        assert_eq!(test.status, TestStatus::Passed, "{test:?}");
    }
    assert!(!result.tests.is_empty());
}

#[test]
fn commands_in_both_shapes() {
    all_pass(
        r#"
        test("shell", function(t)
            local r = vm:run("echo hello | tr a-z A-Z")
            t:assert_eq(r.stdout, "HELLO\n")
            t:assert_eq(r.stderr, "")
            t:assert_eq(r.exit_code, 0)
            t:assert_eq(r.status, "exited")
            t:assert_eq(r.signal, nil)
            t:assert_eq(r.timed_out, false)
            t:assert(r.duration >= 0 and r.duration < 60)
            t:assert(r:ok())
            t:assert(r:assert_ok() == r)
            t:assert_eq(tostring(r), "RunResult: `echo hello | tr a-z A-Z` exited with code 0")
        end)
        test("direct", function(t)
            t:assert_eq(vm:run("echo", {args = {"$HOME", "*", 7}}).stdout, "$HOME * 7\n")
            t:assert_eq(vm:run("echo", {"a b", "c"}).stdout, "a b c\n")
            t:assert_eq(vm:run({"echo", "x"}).stdout, "x\n")
            t:assert_eq(vm:run({"echo", "x"}, {}).stdout, "x\n")
            t:assert_eq(vm:run("printf", {args = {}}).exit_code ~= 0, true)
            t:assert_eq(vm:run("echo", {}).stdout, "\n")
            t:assert_eq(vm:run_async("echo", {}):wait(20).stdout, "\n")
            t:assert_eq(vm:batch(function(b) b:run("echo", {}) end)[1].ok.stdout, "\n")
            t:assert_eq(vm:run("echo a b", {cwd = "/"}).stdout, "a b\n")
            t:assert_eq(vm:run("cat", {args = {"-"}, stdin = "\0\255\n"}).stdout, "\0\255\n")
        end)
        test("a program that reads like a line", function(t)
            local hint = "; with a table of arguments, `{}` too, it is a program's name and no line for the shell"
            local function both(...)
                local args = table.pack(...)
                local err = t:assert_raises(function() vm:run(table.unpack(args)) end)
                t:assert_contains(t:assert_raises(function() vm:run_async(table.unpack(args)) end), err:match("exec.*"))
                t:assert_contains(err, vm:batch(function(b) b:run(table.unpack(args)) end)[1].err)
                return err
            end
            t:assert_contains(both("echo a b", {}), "exec `echo a b`: No such file or directory")
            t:assert_contains(both("echo a b", {}), hint)
            t:assert_contains(both("no such", {"x"}), hint)
            t:assert_contains(both("echo " .. ("x"):rep(300), {}), hint)
            for _, other in ipairs({{"no-such", {}}, {{"no such"}}, {"no such", {args = {}}}, {"/etc /x", {args = {}}}}) do
                local err = both(table.unpack(other))
                t:assert(not err:find(hint, 1, true), err)
            end
        end)
        test("output as text", function(t)
            local function outcome(out)
                local r = vm:run("cat", {stdin = out})
                return r:out(), r:lines()
            end
            for out, expected in pairs({
                [""] = {"", {}}, ["\n"] = {"", {""}}, ["a"] = {"a", {"a"}}, ["a\n"] = {"a", {"a"}},
                ["a\n\n"] = {"a\n", {"a", ""}}, ["a\0\255\r\nb\n"] = {"a\0\255\r\nb", {"a\0\255\r", "b"}},
            }) do
                t:assert_eq({outcome(out)}, expected)
            end
            t:assert_eq(vm:batch(function(b) b:run("echo x") end)[1].ok:out(), "x")
            t:assert_eq(vm:run_async("echo x; echo y"):wait(20):lines(), {"x", "y"})
            t:assert_contains(t:assert_raises(function() vm:run("true"):out(1) end), "result:out: takes at most 0")
        end)
        test("surroundings", function(t)
            t:assert_eq(vm:run("echo $FOO$N", {env = {FOO = "bar", N = 1}}).stdout, "bar1\n")
            t:assert_eq(vm:run("pwd", {cwd = "/etc"}).stdout, "/etc\n")
            t:assert_eq(vm:run("cat", {stdin = "hello\n"}).stdout, "hello\n")
            t:assert_eq(vm:run("cat").stdout, "")
            t:assert_eq(vm:run("env", {args = {}, env = {A = "1", B = "2"}, env_clear = true}).stdout, "A=1\nB=2\n")
        end)
        test("ends", function(t)
            local r = vm:run("kill -TERM $$")
            t:assert_eq({r.exit_code, r.status, r.signal, r.timed_out}, {-1, "signalled", 15, false})
            for _, limit in ipairs({{timeout_ms = 100}, {timeout = 0.1}, {timeout = "100ms"}, {timeout = "0.1s"}}) do
                local r = vm:run("echo early; sleep 100", limit)
                t:assert_eq({r.exit_code, r.status, r.signal, r.timed_out}, {-2, "timed_out", nil, true})
                t:assert_eq(r.stdout, "early\n")
                t:assert(not r:ok())
            end
        end)
        "#,
    );
}

#[test]
fn a_failed_command_tells_all_about_it() {
    all_pass(
        r#"
        test("assert_ok", function(t)
            local function message(...)
                local r = vm:run(...)
                return t:assert_raises(function() r:assert_ok() end)
            end
            t:assert_eq(message("echo out; echo err >&2; echo more >&2; exit 3"),
                "a.test.lua:5: result:assert_ok: `echo out; echo err >&2; echo more >&2; exit 3` exited with code 3" ..
                "\n  stdout:\n    out\n  stderr:\n    err\n    more")
            t:assert_contains(message("kill -9 $$"), "signalled by SIGKILL (9)\n  stdout: (empty)\n  stderr: (empty)")
            t:assert_contains(message("sleep 9", {timeout = 0.05}), "`sleep 9` timed_out after 0.")
            t:assert_contains(message("sh", {"-c", "exit 1"}), "`sh -c exit 1` exited with code 1")
            t:assert_contains(message("head -c 100000 /dev/zero | tr '\\0' x; exit 1"), "characters left out")
        end)
        "#,
    );
}

#[test]
fn wrong_commands_are_refused_in_words() {
    all_pass(
        r#"
        test("errors", function(t)
            local cases = {
                {"expected a string or an array as command, got nil"},
                {"expected a string or an array as command, got number", 7},
                {"expected a table of options or an array of arguments, got string", "ls", "-l"},
                {"unknown option `timout`; did you mean `timeout`?", "ls", {timout = 1}},
                {"unknown option `shell`; it takes args, cwd, env, env_clear, stdin, timeout, timeout_ms", "ls", {shell = true}},
                {"array items beside option keys; put the arguments in `args`", "ls", {"-l", args = {"x"}}},
                {"array items beside option keys; put the arguments in `args`", "ls", {"-l", cwd = "/"}},
                {"option `args`: expected a table, got string", "ls", {args = "x"}},
                {"option `args`: expected an array without other keys or gaps", "ls", {args = {a = 1}}},
                {"option `args`, item 2: expected a string, got boolean", "ls", {args = {"x", true}}},
                {"option `env`: expected names as keys, got number; write {NAME = \"value\"}", "ls", {env = {"A=1"}}},
                {"option `env`, variable `A`: expected a string, got table", "ls", {env = {A = {}}}},
                {"option `env`: `A=B` cannot be the name of a variable", "ls", {env = {["A=B"] = "1"}}},
                {"option `env_clear`: expected true or false, got number", "ls", {env_clear = 1}},
                {"option `cwd`: expected a string, got number", "ls", {cwd = 1}},
                {"option `stdin`: expected a string, got table", "ls", {stdin = {}}},
                {"option `timeout`: `soon` is not a duration", "ls", {timeout = "soon"}},
                {"option `timeout`: `-1` is not a duration", "ls", {timeout = -1}},
                {"option `timeout`: `NaN` is not a duration", "ls", {timeout = 0/0}},
                {"option `timeout`: `inf` is not a duration", "ls", {timeout = math.huge}},
                {"option `timeout_ms`: `-5` is not a duration; it is negative", "ls", {timeout_ms = -5}},
                {"option `timeout_ms`: expected an integer, got 0.5", "ls", {timeout_ms = 0.5}},
                {"option `timeout`: give `timeout` or `timeout_ms`, not both", "ls", {timeout = 1, timeout_ms = 1}},
                {"the command is empty", ""},
                {"the command is empty", "  "},
                {"the command is empty", {}},
                {"the command contains a NUL byte", "a\0b"},
                {"the command, item 1: expected a string, got table", {{}}},
                {"the command is an array already", {"ls"}, {"-l"}},
                {"the command is an array already", {"ls"}, {args = {"-l"}}},
                {"takes at most 2 argument(s), got one more: string", "ls", {}, "x"},
            }
            for _, case in ipairs(cases) do
                local err = t:assert_raises(function() vm:run(table.unpack(case, 2, 4)) end)
                t:assert_contains(err, "a.test.lua:37: vm:run: " .. case[1])
            end
        end)
        "#,
    );
}

#[test]
fn files_are_bytes() {
    all_pass(
        r#"
        test("content", function(t)
            local path = dir .. "/file"
            for _, content in ipairs({"", "text\n", "\0\1\255", ("0123456789abcdef"):rep(200000)}) do
                t:assert_eq(vm:write_file(path, content), #content)
                t:assert(vm:read_file(path) == content)
                t:assert_eq(vm:stat(path).size, #content)
            end
        end)
        test("metadata", function(t)
            vm:write_file(dir .. "/new", "x")
            local s = vm:stat(dir .. "/new")
            t:assert_eq({s.perm, s.entry_type}, {tonumber("644", 8), "file"})
            t:assert_eq({s.mode, s.nlink, s.target}, {tonumber("100644", 8), 1, nil})
            t:assert(math.abs(s.mtime - os.time()) < 100, s.mtime)
            for _, time in ipairs({"atime", "mtime", "ctime"}) do
                t:assert_eq(math.type(s[time .. "_ns"]), "integer")
                t:assert(math.abs(s[time] - s[time .. "_ns"] / 1e9) < 1e-6, s[time])
            end
            local function field(format) return tonumber(vm:run("stat -c " .. format .. " new", {cwd = dir}):out()) end
            t:assert_eq({s.uid, s.gid, s.ino}, {field("%u"), field("%g"), field("%i")})
            vm:run("touch -d @1000000000.123456789 new", {cwd = dir}):assert_ok()
            s = vm:stat(dir .. "/new")
            t:assert_eq(s.mtime_ns, 1000000000123456789)
            t:assert_eq(s.mtime, 1000000000.123456789)
            t:assert(s.ctime_ns > s.mtime_ns)
            t:assert_eq(vm:stat(dir).entry_type, "directory")
            t:assert_eq(vm:stat("/dev/null").entry_type, "char_device")
            vm:run("ln -s nowhere link && mkfifo fifo", {cwd = dir}):assert_ok()
            local link = vm:stat(dir .. "/link", {follow = false})
            t:assert_eq({link.entry_type, link.target}, {"symlink", "nowhere"})
            t:assert_eq(vm:batch(function(b) b:stat(dir .. "/link", {follow = false}) end)[1].ok.target, "nowhere")
            t:assert_eq(vm:stat(dir .. "/fifo").entry_type, "fifo")
        end)
        test("errors", function(t)
            local function raises(text, fn) t:assert_contains(t:assert_raises(fn), text) end
            raises("No such file", function() vm:read_file("/no/such") end)
            raises("/no/such", function() vm:read_file("/no/such") end)
            raises("No such file", function() vm:write_file("/no/such/file", "x") end)
            raises("Is a directory", function() vm:write_file(dir, "x") end)
            raises("No such file", function() vm:stat(dir .. "/link") end)
            raises("vm:read_file: expected a string as path, got nil", function() vm:read_file() end)
            raises("vm:read_file: the path is empty", function() vm:read_file("") end)
            raises("vm:stat: the path \"/a\\0b\" contains a NUL byte", function() vm:stat("/a\0b") end)
            raises("vm:write_file: expected a string as content, got number", function() vm:write_file("/x", 1) end)
            raises("vm:stat: unknown option `folow`; did you mean `follow`?", function() vm:stat("/", {folow = true}) end)
        end)
        "#,
    );
}

#[test]
fn system_calls_in_both_shapes() {
    all_pass(
        r#"
        local SYS = {read = 0, write = 1, close = 3, writev = 20, getpid = 39, openat = 257}
        test("integers", function(t)
            local r = vm:syscall(SYS.getpid)
            t:assert(r.ret > 0)
            t:assert_eq(r, {ret = r.ret, result = r.ret, errno = 0, out_bufs = {}})
            t:assert_eq(vm:syscall(SYS.close, -1), {ret = -9, result = -1, errno = 9, out_bufs = {}})
            t:assert_eq(vm:syscall(SYS.close, 1e9).errno, 9)
            t:assert_eq(vm:syscall(SYS.write, 1 << 30, 1, 1, 0, 0, 0).errno, 9)
            t:assert_eq(vm:syscall(100000).errno, 38)
        end)
        test("buffers", function(t)
            local path = dir .. "/file"
            vm:write_file(path, "content")
            local fd = vm:syscall(SYS.openat, {args = {-100, 0, 0}, bufs = {path .. "\0"}, ptrs = {1}}).ret
            t:assert(fd >= 0, fd)
            local r = vm:syscall(SYS.read, {args = {fd, 0, 4}, bufs = {("."):rep(6)}, ptrs = {1}})
            t:assert_eq(r, {ret = 4, result = 4, errno = 0, out_bufs = {"cont.."}})
            t:assert_eq(vm:syscall(SYS.close, fd).ret, 0)
        end)
        test("nested", function(t)
            local path = dir .. "/out"
            local fd = vm:syscall(SYS.openat, {args = {-100, 0, 65, 420}, bufs = {path .. "\0"}, ptrs = {1}}).ret
            local iovec = string.pack("<i8i8i8i8", 0, 3, 0, 2)
            local r = vm:syscall(SYS.writev, {
                args = {fd, 0, 2},
                bufs = {iovec, "abc", "de"},
                ptrs = {[1] = 1},
                nested = {{parent = 1, offset = 0, child = 2}, {parent = 1, offset = 16, child = 3}},
            })
            t:assert_eq(r.ret, 5)
            t:assert_eq(r.out_bufs[2], "abc")
            t:assert_eq(#r.out_bufs[1], 32)
            vm:syscall(SYS.close, fd)
            t:assert_eq(vm:read_file(path), "abcde")
        end)
        test("errors", function(t)
            local cases = {
                {"the number: expected an integer, got nil"},
                {"the number: expected an integer, got 1.5", 1.5},
                {"argument 2: expected an integer, got nil", 1, 1, nil, 1},
                {"argument 1: expected an integer, got string; a buffer goes into the table form", 1, "x"},
                {"argument 1: expected an integer, got NaN", 1, 0/0},
                {"a system call has at most 6 arguments, got 7", 1, 1, 2, 3, 4, 5, 6, 7},
                {"option `args`: a system call has at most 6 arguments, got 7", 1, {args = {1, 2, 3, 4, 5, 6, 7}}},
                {"option `args`: expected an array without other keys or gaps", 1, {args = {[2] = 1}}},
                {"unknown option `buf`; did you mean `bufs`?", 1, {buf = {}}},
                {"array items beside option keys", 1, {1, 2}},
                {"option `bufs`: buffer 1: expected a string, got number", 1, {bufs = {7}}},
                {"option `bufs`: buffer 2 has 16777217 bytes, the most is 16 MiB", 1, {bufs = {"", ("x"):rep((16 << 20) + 1)}}},
                {"option `ptrs`: [2] is for a buffer that `bufs` does not have", 1, {bufs = {"x"}, ptrs = {0, 1}}},
                {"option `ptrs`: [1] = 6: arguments are counted from 0 to 5", 1, {bufs = {"x"}, ptrs = {6}}},
                {"option `ptrs`: [1] = -1: arguments are counted from 0 to 5", 1, {bufs = {"x"}, ptrs = {-1}}},
                {"both go to argument 1", 1, {bufs = {"x", "y"}, ptrs = {1, 1}}},
                {"option `nested`, entry 1: option `parent`: is missing", 1, {bufs = {"x"}, nested = {{}}}},
                {"option `nested`, entry 1: option `child`: 3 is not one of the 1 buffers", 1, {bufs = {"x"}, nested = {{parent = 1, child = 3, offset = 0}}}},
                {"a pointer of 8 bytes at 1 does not fit a buffer of 8 bytes", 1, {bufs = {"12345678"}, nested = {{parent = 1, child = 1, offset = 1}}}},
                {"a pointer of 8 bytes at -1 does not fit", 1, {bufs = {"12345678"}, nested = {{parent = 1, child = 1, offset = -1}}}},
                {"option `nested`, entry 1: expected a table {parent=, offset=, child=}, got number", 1, {nested = {1}}},
            }
            for _, case in ipairs(cases) do
                local err = t:assert_raises(function() vm:syscall(table.unpack(case, 2, 9)) end)
                t:assert_contains(err, "vm:syscall")
                t:assert_contains(err, case[1])
            end
        end)
        "#,
    );
}

/// Runs each case, a call and a part of its error, in one test of a file.
#[track_caller]
fn all_raise(before: &str, cases: &[(&str, &str)]) {
    let mut source = format!("{before}\ntest('errors', function(t)\n");
    for (call, expected) in cases {
        source += &format!("t:assert_contains(t:assert_raises(function() {call} end), [==[{expected}]==])\n");
    }
    source += "end)\n";
    all_pass(&source);
}

#[test]
fn wrong_arguments_are_refused_in_words() {
    all_raise(
        "",
        &[
            (
                "vm:run_async()",
                "vm:run_async: expected a string or an array as command, got nil",
            ),
            (
                "vm:run_async('x', {timeout = 1})",
                "option `timeout`: a program that is left running has none; give it to proc:wait(timeout)",
            ),
            (
                "vm:run_async('x', {timeout_ms = 1})",
                "give it to proc:wait(timeout)",
            ),
            (
                "vm:run_async('x', {stdn = ''})",
                "unknown option `stdn`; did you mean `stdin`?",
            ),
            ("vm:listdir()", "vm:listdir: expected a string as path, got nil"),
            (
                "vm:mkdir('/x', {parent = true})",
                "unknown option `parent`; did you mean `parents`?",
            ),
            (
                "vm:mkdir('/x', {perm = 8192})",
                "option `perm`: 8192 are no permission bits",
            ),
            (
                "vm:mkdir('/x', {perm = '755'})",
                "option `perm`: expected an integer, got string",
            ),
            ("vm:unlink('')", "vm:unlink: the path is empty"),
            ("vm:rename('/x')", "vm:rename: expected a string as path, got nil"),
            (
                "vm:pull_file('/x')",
                "vm:pull_file: expected a string as path on the host, got nil",
            ),
            ("vm:pull_file('/no/such', dir .. '/x')", "No such file"),
            (
                "vm:pull_file('/etc/passwd', dir .. '/no/such/x')",
                "does not exist on the host",
            ),
            (
                "vm:open_file('/x')",
                "expected a table such as {read = true} as mode, got nil",
            ),
            (
                "vm:open_file('/x', {create = true})",
                "at least one of `read`, `write` and `append`",
            ),
            (
                "vm:open_file('/x', {raed = true})",
                "unknown option `raed`; did you mean `read`?",
            ),
            (
                "vm:open_file('/x', {read = 1})",
                "option `read`: expected true or false, got number",
            ),
            (
                "vm:tail_file('/x', {start = 'middle'})",
                "expected \"end\", \"beginning\", \"start\" or an offset, got \"middle\"",
            ),
            (
                "vm:tail_file('/x', {start = 1.5})",
                "option `start`: expected an integer, got 1.5",
            ),
            ("vm:tail_file('/x', {start = {}})", "or an offset, got table"),
            (
                "vm:fd_stream('x')",
                "expected a descriptor (an integer or a File), got string",
            ),
            ("vm:fd_stream(1 << 40)", "1099511627776 is no descriptor"),
            (
                "vm:syscall_async('x')",
                "vm:syscall_async: the number: expected an integer, got string",
            ),
            (
                "vm:ioctl()",
                "expected a descriptor (an integer or a File), got nil",
            ),
            ("vm:ioctl(0)", "the command: expected an integer, got nil"),
            (
                "vm:ioctl(0, 1, {})",
                "expected a string or an integer as data, got table",
            ),
            (
                "vm:ioctl(0, 1, ('x'):rep((16 << 20) + 1))",
                "the data has 16777217 bytes, the most is 16 MiB",
            ),
            (
                "vm:ioctl(0, 1, 'x', {bufs = {'', ('x'):rep((16 << 20) + 1)}})",
                "option `bufs`: buffer 2 has 16777217 bytes, the most is 16 MiB",
            ),
            (
                "vm:ioctl(0, 1, 'x', {bufs = {'a'}})",
                "0 offset(s) for 1 buffer(s)",
            ),
            (
                "vm:ioctl(0, 1, '12345678', {bufs = {'a'}, ptr_offsets = {1}})",
                "[1]: a pointer of 8 bytes at 1 does not fit data of 8 bytes",
            ),
            (
                "vm:ioctl(0, 1, 5, {bufs = {'a'}, ptr_offsets = {0}})",
                "does not fit data of 0 bytes",
            ),
            ("vm:ioctl(0, 1, 'x', {offsets = {}})", "unknown option `offsets`"),
            ("vm:read_mem()", "the address: expected an integer, got nil"),
            ("vm:read_mem(0, -1)", "-1 is no length; it goes from 0 to 16 MiB"),
            ("vm:read_mem(0, (16 << 20) + 1)", "is no length"),
            ("vm:batch()", "expected a function that takes the batch, got nil"),
            (
                "vm:batch(function(b) b:open_file('/x') end)",
                "has no `open_file`; what can be done in a batch is run, read_file, write_file, stat, listdir, \
                 mkdir, unlink, rename, rmdir, chmod, chown, symlink, readlink, truncate, exists, syscall",
            ),
            (
                "vm:batch(function(b) b:read_file() end)",
                "b:read_file: expected a string as path, got nil",
            ),
            (
                "vm:batch(function(b) kept = b end); kept:stat('/')",
                "this batch has been sent",
            ),
        ],
    );
}

#[test]
fn ioctls_and_memory() {
    all_pass(
        r#"
        local FIONREAD, RTC = 0x541B, 0
        test("a struct", function(t)
            local fds = vm:syscall(22, {bufs = {("\0"):rep(8)}, ptrs = {0}}).out_bufs[1]
            local r, w = string.unpack("i4i4", fds)
            vm:syscall(1, {args = {w, 0, 5}, bufs = {"12345"}, ptrs = {1}})
            local got = vm:ioctl(r, FIONREAD, ("\0"):rep(4))
            t:assert_eq(got, {ret = 0, result = 0, errno = 0, out_data = "\5\0\0\0", out_bufs = {}})
            t:assert_eq(vm:ioctl(-1, FIONREAD).errno, 9)
            local wrong = vm:ioctl(r, FIONREAD, 8)
            t:assert_eq({wrong.ret, wrong.result, wrong.errno, wrong.out_data}, {-14, -1, 14, nil})
            -- An unknown request leaves all as it was, but for the addresses that were put in.
            local data = ("\0"):rep(24)
            local kept = vm:ioctl(r, 0x7fff1234, data, {bufs = {"one", "two"}, ptr_offsets = {0, 16}})
            t:assert_eq(kept.errno, 25)
            t:assert_eq(kept.out_bufs, {"one", "two"})
            t:assert_eq(#kept.out_data, 24)
            local one, gap, two = string.unpack("i8i8i8", kept.out_data)
            t:assert(one ~= 0 and two ~= 0 and one ~= two and gap == 0)
            vm:syscall(3, r)
            vm:syscall(3, w)
        end)
        test("memory", function(t)
            -- What a call leaves behind an anonymous mapping.
            local at = vm:syscall(9, 0, 8192, 3, 0x22, -1, 0).ret
            local fd = vm:syscall(257, {args = {-100, 0, 0}, bufs = {"/proc/version\0"}, ptrs = {1}}).ret
            t:assert(vm:syscall(0, fd, at, 5).ret == 5)
            t:assert_eq(vm:read_mem(at, 5), "Linux")
            t:assert_eq(vm:read_mem(at + 5, 3), "\0\0\0")
            t:assert_eq(#vm:read_mem(at, 8192), 8192)
            t:assert_eq(vm:read_mem(at, 0), "")
            vm:syscall(11, at + 4096, 4096)
            for _, wrong in ipairs({{8, 8}, {at + 4090, 100}, {at + 4096, 1}}) do
                local bytes, errno = vm:read_mem(table.unpack(wrong))
                t:assert_eq({bytes == nil, errno}, {true, 14})
            end
            vm:syscall(3, fd)
        end)
        "#,
    );
}

#[test]
fn a_pulled_file_replaces_one_that_is_there() {
    all_pass(
        r#"
        test("pull", function(t)
            local function content(path) local f = assert(io.open(path)); local all = f:read("a"); f:close(); return all end
            vm:write_file(dir .. "/guest", ("0123456789"):rep(300000))
            vm:pull_file(dir .. "/guest", dir .. "/host")
            t:assert(content(dir .. "/host") == ("0123456789"):rep(300000))
            t:assert_raises(function() vm:pull_file(dir .. "/none", dir .. "/host") end)
            t:assert_eq(#content(dir .. "/host"), 3000000)
            vm:write_file(dir .. "/guest", "")
            vm:pull_file(dir .. "/guest", dir .. "/host")
            t:assert_eq(content(dir .. "/host"), "")
            t:assert_eq(vm:run("ls -A | wc -l", {cwd = dir}).stdout, "2\n")
        end)
        "#,
    );
}
