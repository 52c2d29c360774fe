//! `os.execute` and `io.popen`: as in Lua, except that they end with their test.

use super::*;

/// Runs a body as one test, which has to pass.
fn passes(body: &str) {
    let result = run(&format!("test('x', function(t)\n{body}\nend)"));
    assert_eq!(
        statuses(&result),
        [("x", TestStatus::Passed)],
        "{:?}",
        result.tests.first().map(|test| &test.message)
    );
}

#[test]
fn os_execute_gives_what_lua_gives() {
    passes(
        "t:assert_eq({true, 'exit', 0}, {os.execute('true')})
         local ok, what, code = os.execute('exit 3')
         t:assert(ok == nil and what == 'exit' and code == 3, what)
         ok, what, code = os.execute('kill -TERM $$')
         t:assert(ok == nil and what == 'signal' and code == 15, what)
         t:assert_eq(true, os.execute())
         t:assert_eq({nil, 'exit', 127}, {os.execute('/no/such/program 2>/dev/null')})
         t:assert_raises(function() os.execute({}) end, {match = 'os.execute'})",
    );
}

#[test]
fn a_command_has_no_input_of_its_own() {
    passes("t:assert_eq({true, 'exit', 0}, {os.execute('! read line')})");
}

#[test]
fn io_popen_reads_in_every_format_and_gives_the_commands_end() {
    passes(
        "local f = io.popen('echo one; echo 2 3; printf four; exit 5')
         t:assert_eq('file', io.type(f))
         t:assert_eq('one', f:read('l'))
         t:assert_eq({2, 3}, {f:read('n', 'n')})
         t:assert_eq('\\n', f:read('L'))
         t:assert_eq('fo', f:read(2))
         t:assert_eq('ur', f:read('a'))
         t:assert_eq(nil, f:read('l'))
         local ok, what, code = f:close()
         t:assert(ok == nil and what == 'exit' and code == 5, what)
         t:assert_eq('closed file', io.type(f))
         t:assert_raises(function() f:close() end, {match = 'closed file'})
         local lines = {}
         for line in io.popen('seq 3'):lines() do lines[#lines + 1] = line end
         t:assert_eq({'1', '2', '3'}, lines)
         t:assert_eq({true, 'exit', 0}, {io.close(io.popen('true', 'r'))})
         do
           local f <close> = io.popen('echo x')
           t:assert_eq('x', f:read())
         end
         t:assert_raises(function() io.popen('true', 'rw') end, {match = 'the mode is'})",
    );
}

#[test]
fn io_popen_writes_and_its_command_sees_the_end_while_others_run() {
    passes(
        "local name = os.tmpname()
         local first = io.popen('cat >' .. name, 'w')
         local second = io.popen('cat >>' .. name, 'w')
         first:write('a', 1):write('\\n')
         t:assert_eq({true, 'exit', 0}, {first:close()})
         second:write('b')
         t:assert_eq({true, 'exit', 0}, {second:close()})
         local f <close> = io.open(name)
         t:assert_eq('a1\\nb', f:read('a'))
         t:assert(f:close())
         os.remove(name)",
    );
}

#[test]
fn a_command_that_nobody_reads_any_more_ends() {
    passes(
        "local endless = io.popen('exec yes')
         local other = io.popen('exec sleep 600', 'w')
         t:assert_eq('y', endless:read())
         local ok, what, code = endless:close()
         t:assert(ok == nil and what == 'signal' and code == 13, what)",
    );
}

#[test]
fn files_that_are_no_commands_close_as_ever() {
    passes(
        "local name = os.tmpname()
         local f = io.open(name, 'w')
         t:assert_eq(true, f:close())
         f = io.open(name)
         t:assert_eq(true, io.close(f))
         t:assert_raises(function() io.close(5) end, {match = 'FILE*'})
         os.remove(name)",
    );
}

#[test]
fn the_tests_limit_ends_its_commands_with_all_they_started() {
    for (call, what) in [
        ("os.execute('sleep 600 & echo $! >pid; wait')", "os.execute"),
        ("io.popen('sleep 600 & echo $! >pid; wait'):close()", "io.close"),
        ("io.popen('sleep 600 & echo $! >pid; wait'):read('a')", ""),
        (
            "io.popen('sleep 600 & echo $! >pid; wait', 'w'):write(('x'):rep(1 << 20))",
            "",
        ),
    ] {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let pid = dir.path().join("pid");
        let call = call.replace(">pid", &format!(">{}", pid.display()));
        let result = run(&format!(
            "test('x', {{timeout = '1s'}}, function()\n  {call}\n  while true do end\nend)\ntest('after', function() end)"
        ));
        assert_eq!(
            statuses(&result),
            [("x", TestStatus::Failed), ("after", TestStatus::Passed)]
        );
        let message = result.tests[0].message.clone().expect("a message");
        let waiting = match what {
            "" => String::new(),
            what => format!(", waiting in {what}"),
        };
        assert!(
            message.starts_with(&format!("timed out after 1s{waiting}\n")),
            "{message}"
        );
        let pid = std::fs::read_to_string(&pid).expect("the command has begun");
        let stat = format!("/proc/{}/stat", pid.trim());
        while std::fs::read_to_string(&stat).is_ok_and(|stat| !stat.contains(") Z ")) {
            std::thread::yield_now();
        }
    }
}

#[test]
fn what_a_test_leaves_open_ends_with_it() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let pid = dir.path().join("pid").display().to_string();
    let result = run(&format!(
        "test('x', function() left = io.popen('echo $$ >{pid}; echo; exec sleep 600') left:read() end)\n\
         test('after', function(t) t:assert_eq(nil, left:close()) end)"
    ));
    assert_eq!(
        statuses(&result),
        [("x", TestStatus::Passed), ("after", TestStatus::Passed)]
    );
    let pid = std::fs::read_to_string(&pid).expect("the command has begun");
    assert!(!Path::new("/proc").join(pid.trim()).exists());
}
