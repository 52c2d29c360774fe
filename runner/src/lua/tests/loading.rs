//! How Lua files are taken in, and that nothing else is; code that Lua runs where its hooks are off.

use std::os::unix::ffi::OsStrExt;

use super::*;

/// Runs a test file of these bytes in a project with these files beside it.
fn run_with(dir: &Path, source: &[u8], files: &[(&str, &[u8])]) -> FileResult {
    std::fs::create_dir_all(dir).expect("a folder");
    let job = job(dir, "");
    std::fs::write(&job.path, source).expect("the test file");
    for (path, content) in files {
        let path = dir.join(path);
        std::fs::create_dir_all(path.parent().expect("a parent")).expect("folders");
        std::fs::write(path, content).expect("a file");
    }
    run_file(&job, &silent())
}

fn run_bytes(source: &[u8], files: &[(&str, &[u8])]) -> FileResult {
    let dir = tempfile::tempdir().expect("a temporary folder");
    run_with(dir.path(), source, files)
}

/// The message of the only test's failure.
#[track_caller]
fn message_of(result: FileResult) -> String {
    assert_eq!(result.chunk_error, None);
    let message = result.tests.into_iter().next().expect("a test").message;
    message.expect("a failure has a message")
}

#[test]
fn a_file_may_begin_as_lua_lets_it() {
    for start in [
        &b"#!/usr/bin/env provium\n"[..],
        b"\xef\xbb\xbf#!x\n",
        b"\xef\xbb\xbf-- \xff\n",
    ] {
        let file = [start, b"test('a', function(t)\n  t:fail('\\255\xe9')\nend)"].concat();
        let result = run_bytes(&file, &[]);
        assert_eq!(result.tests[0].line, Some(3));
        let message = message_of(result);
        assert!(message.ends_with("3 | t:fail('\\255\u{fffd}')"), "{message}");
    }
    let helper = b"\xef\xbb\xbf#!/usr/bin/lua\n-- \xff\nlocal M = {bytes = '\xff'}\nfunction M.raise() error('x') end\nreturn M";
    let result = run_bytes(
        br#"
        test("a", function(t)
            local function check(M)
                t:assert_eq(M.bytes, "\255")
                t:assert_contains(t:assert_raises(M.raise), "h.lua:4: x")
            end
            check(require("h"))
            check(dofile("h.lua"))
            check(assert(loadfile("h.lua"))())
            check(assert(loadfile("h.lua", "t", {error = error}))())
        end)
        "#,
        &[("h.lua", helper)],
    );
    assert!(result.passed, "{result:?}");
}

#[test]
fn bytecode_is_refused_everywhere() {
    let lua = mlua::Lua::new();
    let code = lua
        .load("return 1")
        .into_function()
        .expect("a function")
        .dump(true);
    let refused = "it is Lua bytecode, which is not run; give the source text";
    let result = run_bytes(&code, &[]);
    assert_eq!(result.chunk_error, Some(format!("a.test.lua: {refused}")));
    let result = run_bytes(
        format!(
            r#"
            local refused = {refused:?}
            test("a", function(t)
                local code = io.open(package.searchpath("c", package.path), "rb"):read("a")
                for _, path in ipairs({{"c.lua", "d.lua"}}) do
                    t:assert_contains(t:assert_raises(function() dofile(path) end), path .. ": " .. refused)
                    local none, why = loadfile(path)
                    t:assert_eq(none, nil)
                    t:assert_contains(why, refused)
                end
                for _, mode in ipairs({{"b", "bt", "t", false}}) do
                    t:assert_eq({{load(code, "c", mode or nil)}}, {{[2] = refused}})
                end
                local once = code
                t:assert_eq({{load(function() local part = once once = nil return part end)}}, {{[2] = refused}})
                t:assert_contains(t:assert_raises(function() require("c") end), "c.lua: " .. refused)
                t:assert_eq(string.dump, nil)
                t:assert_eq(("").dump, nil)
            end)
            "#
        )
        .as_bytes(),
        &[("c.lua", &code), ("d.lua", &[b"#!x\n", &code[..]].concat())],
    );
    assert!(result.passed, "{result:?}");
}

#[test]
fn load_is_luas_own_for_text() {
    passes(
        r#"
        t:assert_eq(load("return ...")(7), 7)
        t:assert_eq(load("return x", "n", "t", {x = 8})(), 8)
        t:assert_eq(load("return x", "n", "bt", {x = 8})(), 8)
        t:assert_eq({load("retrun 7", "=n")}, {[2] = "n:1: syntax error near '7'"})
        local parts = {"return ", "9"}
        t:assert_eq(load(function() return table.remove(parts, 1) end)(), 9)
        x = 10
        t:assert_eq(load("return x")(), 10)
        t:assert_contains(t:assert_raises(function() load() end), "a.test.lua:11: load: expected source text, or a function that gives it, got nil")
        local none, why = loadfile("nowhere.lua")
        t:assert_eq(none, nil)
        t:assert_contains(why, "nowhere.lua: No such file or directory")
        "#,
    );
}

#[test]
fn a_helper_without_a_value_says_so_where_it_is_used() {
    let files: &[(&str, &[u8])] = &[
        ("helpers/none.lua", b"answer = 42"),
        ("helpers/own.lua", b"package.loaded['helpers.own'] = {x = 1}"),
        ("helpers/no.lua", b"return false"),
    ];
    let result = run_bytes(
        b"local h = require('helpers.none')\ntest('a', function(t)\n  t:assert_eq(answer, 42)\n  h.call()\nend)",
        files,
    );
    assert_eq!(result.tests[0].line, Some(4));
    assert_eq!(
        message_of(result),
        "require(\"helpers.none\") gave no value: end the file with `return M`\n  4 | h.call()"
    );
    let result = run_bytes(
        b"test('a', function(t)\nt:assert_eq(require('helpers.own').x, 1)\nt:assert_eq(require('helpers.no'), false)\nt:assert(require('helpers.none'))\nend)",
        files,
    );
    assert!(result.passed, "{result:?}");
}

#[test]
fn a_missing_helper_is_one_line_with_the_nearest() {
    let files: &[(&str, &[u8])] = &[
        ("helpers/net.lua", b"return {}"),
        ("lib/deep/init.lua", b"return {}"),
        ("broken.lua", b"local x =\n= 1"),
    ];
    for (name, expected) in [
        (
            "helpers.nett",
            "module `helpers.nett` not found: no helpers/nett.lua below lib or DIR; did you mean `helpers.net`?",
        ),
        (
            "dep",
            "module `dep` not found: no dep.lua below lib or DIR; did you mean `deep`?",
        ),
        ("qqq", "module `qqq` not found: no qqq.lua below lib or DIR"),
        ("broken", "broken.lua:2: unexpected symbol near '='"),
    ] {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let source = format!("test('a', function(t)\n  require('{name}')\nend)");
        let message = message_of(run_with(dir.path(), source.as_bytes(), files));
        let message = message.replace(&*dir.path().to_string_lossy(), "DIR");
        assert!(message.contains(expected), "{message}");
        assert!(
            message.contains(&format!("\n  2 | require('{name}')")),
            "{message}"
        );
    }
    let result = run_bytes(
        b"test('a', function(t)\n table.insert(package.searchers, function(name) return function() return name end end)\n t:assert_eq(require('any'), 'any')\nend)",
        &[],
    );
    assert!(result.passed, "{result:?}");
}

#[test]
fn modules_are_found_whatever_their_folder_is_called() {
    for name in [&b"what?"[..], b"a;b", b"\xff\xfe"] {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let dir = dir.path().join(std::ffi::OsStr::from_bytes(name));
        let result = run_with(
            &dir,
            b"local h, i = require('helpers.h'), require('i')\ntest('a', function(t) t:assert_eq(h.v + i.v, 3) end)",
            &[("helpers/h.lua", b"return {v = 1}"), ("i/init.lua", b"return {v = 2}")],
        );
        assert!(result.passed, "{result:?}");
    }
}

#[test]
fn what_lua_runs_without_hooks_ends_at_the_limit() {
    for body in [
        "xpcall(error, function() while true do end end)",
        "xpcall(function() while true do end end, function() while true do end end)",
        "while true do xpcall(error, function() while true do end end) end",
        "setmetatable({}, {__gc = function() while true do end end}) collectgarbage() while true do end",
        "local x <close> = setmetatable({}, {__close = function() while true do end end}) while true do end",
        "coroutine.wrap(function() local x <close> = setmetatable({}, {__close = function() while true do end end}) while true do end end)()",
        "local co = coroutine.create(function() local x <close> = setmetatable({}, {__close = function() while true do end end}) while true do end end) coroutine.resume(co) coroutine.close(co)",
        "xpcall(coroutine.wrap(function() while true do end end), function() while true do end end)",
    ] {
        let result = run(&format!(
            "test('x', {{timeout = '50ms'}}, function(t)\n{body}\nend) test('y', print)"
        ));
        assert_eq!(
            statuses(&result),
            [("x", TestStatus::Failed), ("y", TestStatus::Passed)],
            "{body}"
        );
        let message = result.tests[0].message.clone().expect("a message");
        assert!(message.starts_with("timed out after 0.05s"), "{body}: {message}");
    }
}

#[test]
fn guarded_functions_behave_as_luas_own() {
    passes(
        r#"
        t:assert_eq({xpcall(function(a, b) return a, b end, print, 1, 2)}, {true, 1, 2})
        t:assert_eq({xpcall(error, function(e) return e .. "!", 2 end, "x")}, {false, "x!"})
        t:assert_eq({xpcall(error, function(e) error(e .. "?", 0) end, "x")}, {false, "x?"})
        local co = coroutine.wrap(function() return xpcall(function() coroutine.yield(1) error("y", 0) end, function(e) return e end) end)
        t:assert_eq(co(), 1)
        t:assert_eq({co()}, {false, "y"})
        local co = coroutine.create(function(...) local a = coroutine.yield(...) error(a) end)
        t:assert_eq({coroutine.resume(co, 1, 2)}, {true, 1, 2})
        local object = {}
        local ok, err = coroutine.resume(co, object)
        t:assert(not ok and err == object)
        t:assert_eq(coroutine.status(co), "dead")
        local finals = 0
        local meta = {__gc = function(o) finals = finals + o.n end}
        for n = 1, 3 do setmetatable({n = n}, meta) end
        collectgarbage() collectgarbage()
        t:assert_eq(finals, 6)
        local plain = {}
        t:assert(setmetatable(plain, nil) == plain)
        for call, expected in pairs({
            [function() setmetatable(1, {}) end] = "a.test.lua:23: bad argument #1 to 'setmetatable' (table expected, got number)",
            [function() setmetatable(setmetatable({}, {__metatable = 1}), {}) end] = "a.test.lua:24: cannot change a protected metatable",
            [function() coroutine.wrap(1) end] = "a.test.lua:25: bad argument #1 to 'wrap' (function expected, got number)",
            [function() xpcall(print) end] = "a.test.lua:26: bad argument #2 to 'xpcall' (function expected, got nil)",
        }) do
            t:assert_eq(t:assert_raises(call), expected)
        end
        "#,
    );
}
