//! The classic dialect, as far as it needs no guest: packing, assertions, files that are tests, sub-tests in
//! place.

use super::*;

#[test]
fn structs_go_there_and_back() {
    passes(
        r##"
        assert_eq("\1\0\0\0\42\0\0\0\0\0\0\0\0\0\0\0", provium.pack("u32 u32 u64", 1, 42, 0))
        assert_eq("\xff\xfe\xff\x00\x80", provium.pack("i8 i16 u8 u8", -1, -2, 0, 128))
        assert_eq("", provium.pack(""))
        local fmt = "u8 i8 u16 i16 u32 i32 u64 i64"
        local least = {0, -128, 0, -32768, 0, -2147483648, 0, math.mininteger}
        local most = {255, 127, 65535, 32767, 4294967295, 2147483647, -1, math.maxinteger}
        for _, values in ipairs({least, most}) do
            local data = provium.pack(fmt, table.unpack(values))
            assert_eq(30, #data)
            assert_eq(values, {provium.unpack(fmt, data)})
        end
        assert_eq(1, select("#", provium.unpack("u8", "\1rest")))
        assert_eq({string.unpack("<I4z", "\1\0\0\0x\0")}, {provium:unpack("<I4z", "\1\0\0\0x\0")})
        assert_eq(string.pack("<I4z", 1, "x"), provium:pack("<I4z", 1, "x"))
        assert_eq(provium.pack("u64", 2^63), provium.pack("u64", math.mininteger))
        "##,
    );
}

#[test]
fn what_does_not_fit_a_struct_is_named_by_its_position() {
    for (call, expected) in [
        (
            "provium.pack('u8 u32', 1, 4294967296)",
            "provium.pack: field 2 (u32): 4294967296 is out of range (0 to 4294967295)",
        ),
        (
            "provium.pack('u8', -1)",
            "provium.pack: field 1 (u8): -1 is out of range (0 to 255)",
        ),
        (
            "provium.pack('i64', 2^63)",
            "provium.pack: field 1 (i64): 9223372036854775808 is out of range (-9223372036854775808 to 9223372036854775807)",
        ),
        (
            "provium.pack('u8 u16', 1)",
            "provium.pack: field 2 (u16): the value is missing",
        ),
        (
            "provium.pack('u8', 1, 2)",
            "provium.pack: the format has 1 field(s), got 2 values",
        ),
        (
            "provium.pack('u8', 1.5)",
            "provium.pack: field 1 (u8): expected an integer, got 1.5",
        ),
        (
            "provium.pack('u8', 0/0)",
            "provium.pack: field 1 (u8): expected an integer, got NaN",
        ),
        (
            "provium.pack('u8', 'x')",
            "provium.pack: field 1 (u8): expected an integer, got string",
        ),
        (
            "provium.pack('u12', 1)",
            "provium.pack: field 1: unknown type `u12`; did you mean `u16`?",
        ),
        (
            "provium.unpack('u32 u32', 'sevenby')",
            "provium.unpack: field 2 (u32): needs 4 byte(s) at offset 4, the string has 7",
        ),
        (
            "provium.unpack('u8', nil)",
            "provium.unpack: expected a string of packed bytes, got nil",
        ),
    ] {
        let message = failure(call);
        assert!(message.starts_with(expected), "{call}: {message}");
    }
    assert_eq!(
        failure("provium:pack('i17', 1)"),
        "provium:pack: integral size (17) out of limits [1,16]\n  2 | provium:pack('i17', 1)"
    );
}

#[test]
fn global_assertions_show_both_values_and_the_line() {
    for (body, expected) in [
        (
            "assert(false)",
            "assertion failed\n  got: false\n  2 | assert(false)",
        ),
        (
            "assert(nil, 'why')",
            "assertion failed: why\n  got: nil\n  2 | assert(nil, 'why')",
        ),
        (
            "assert_eq(1, 2, 'so')",
            "values differ: so\n  expected: 1\n  actual:   2\n  2 | assert_eq(1, 2, 'so')",
        ),
        (
            "assert_contains('hay', 'x')",
            "string not found\n  needle:   \"x\"\n  haystack: \"hay\"\n  2 | assert_contains('hay', 'x')",
        ),
    ] {
        assert_eq!(failure(body), expected);
    }
    passes(
        r##"
        local a, b, c = assert(1, 2, 3)
        assert(a == 1 and b == 2 and c == 3)
        assert_eq({1, {x = "y"}}, {1.0, {x = "y"}})
        assert_contains("a.b", ".")
        -- As Lua's own: caught is caught, and an error that is a table stays one.
        local ok, err = pcall(assert, false, {code = 7})
        assert(not ok and err.code == 7)
        assert(not pcall(assert_eq, 1, 2))
        assert(not pcall(assert))
        "##,
    );
}

#[test]
fn a_file_that_asserts_and_has_no_test_is_one() {
    let result = run("assert(true)\nprint('said')");
    assert_eq!(statuses(&result), [("a", TestStatus::Passed)]);
    assert_eq!(result.tests[0].log, ["said"]);

    let result = run("assert(true)\n\nassert_eq(1, 2)");
    assert_eq!(statuses(&result), [("a", TestStatus::Failed)]);
    assert_eq!((result.passed, result.tests[0].line), (false, Some(3)));
    let message = result.tests[0].message.as_deref().unwrap_or_default();
    assert!(message.ends_with("3 | assert_eq(1, 2)"), "{message}");
    assert_eq!(result.chunk_error, None);

    let result = run("todo('waiting on feature X')\nassert(false)");
    assert_eq!(statuses(&result), [("a", TestStatus::Skipped)]);
    assert_eq!(result.tests[0].message.as_deref(), Some("waiting on feature X"));
    assert!(result.passed);

    // Without an assertion, or with a test, it is none.
    assert_eq!(statuses(&run("local x = 1")), []);
    assert_eq!(
        statuses(&run("assert(true) test('x', function() assert_eq(1, 1) end)")),
        [("x", TestStatus::Passed)]
    );
    assert!(run("local x = 1\nerror('so')").chunk_error.is_some());
}

#[test]
fn sub_tests_run_in_place_and_fail_alone() {
    let result = run_in_project(
        r##"
        local order = {}
        test("registered", function() order[#order + 1] = "registered" end)
        local vm = provium.create("min")
        test("first", function() order[#order + 1] = "first" end)
        order[#order + 1] = "between"
        test("second", function() assert_eq(1, 2) end)
        test("third", function() todo("later") end)
        test("own scope", function() assert_eq("min-2", provium.create("min"):name()) end)
        assert_eq("first between", table.concat(order, " "))
        assert_eq({"min"}, provium:vm_names())
        assert_eq("created", vm:state())
        assert_eq("min-2", provium:create("min"):name())
        provium.shutdown_all()
        "##,
    );
    assert_eq!(result.chunk_error, None);
    assert_eq!(
        statuses(&result),
        [
            ("first", TestStatus::Passed),
            ("second", TestStatus::Failed),
            ("third", TestStatus::Skipped),
            ("own scope", TestStatus::Passed),
            ("registered", TestStatus::Passed),
        ]
    );
    assert_eq!(result.tests[1].line, Some(7));
    let result = run_in_project("provium.create('min')");
    assert_eq!(statuses(&result), [("a", TestStatus::Passed)]);
}

#[test]
fn what_a_classic_call_gets_wrong_is_found_before_the_guest() {
    let source = |body: &str| format!("local vm = provium.create('min')\n{body}");
    for (body, expected) in [
        (
            "vm:syscall(1, 2, 3, 4, 5, 6, 7, 8)",
            "vm:syscall: a system call has at most 6 arguments, got 7",
        ),
        (
            "vm:syscall(1, 'x')",
            "vm:syscall: argument 0: expected an integer, got string",
        ),
        (
            "vm:syscall_buf(1, 2, 'x', 0, 0)",
            "vm:syscall_buf: argument 2 is past the argument list, which has 2 (counted from 0); give a 0 in its place",
        ),
        (
            "vm:syscall_buf(1, -1, 'x', 0)",
            "vm:syscall_buf: argument -1 is past the argument list",
        ),
        (
            "vm:syscall_buf(1, 0, ('x'):rep((16 << 20) + 1), 0)",
            "vm:syscall_buf: the buffer of argument 0 has 16777217 bytes, the most is 16 MiB",
        ),
        (
            "vm:syscall_bufs(1, {[7] = 'x'}, 0, 0)",
            "vm:syscall_bufs: argument 7 is past the argument list, which has 2",
        ),
        (
            "vm:syscall_bufs(1, {[1] = 5}, 0, 0)",
            "vm:syscall_bufs: the buffer of argument 1: expected a string, got number",
        ),
        (
            "vm:syscall_ptr(1, {[0] = 'eight by'}, {{buf_idx = 0, ptr_offset = 1, data = 'x'}}, 0)",
            "vm:syscall_ptr: pointer 1: option `ptr_offset`: a pointer of 8 bytes at 1 is outside its buffer of 8 bytes",
        ),
        (
            "vm:syscall_ptr(1, {[0] = 'eight by'}, {{buf_idx = 3, ptr_offset = 0, data = 'x'}}, 0)",
            "vm:syscall_ptr: pointer 1: option `buf_idx`: 3 is not the index of a buffer in the table",
        ),
        (
            "vm:syscall_ptr(1, {[0] = 'eight by'}, {{buf_idx = 0, ptr_offset = 0, data = 'long', data_len = 2}}, 0)",
            "vm:syscall_ptr: pointer 1: option `data_len`: 2 is less than the data's 4 bytes",
        ),
        (
            "vm:ioctl_buf(3, 1, 'short', {{ptr_offset = 0, buf_len = 4}})",
            "vm:ioctl_buf: buffer 1: option `ptr_offset`: a pointer of 8 bytes at 0 is outside its buffer of 5 bytes",
        ),
        (
            "vm:ioctl_buf(3, 1, ('x'):rep(16), {{ptr_offset = 0, buf_length = 4}})",
            "vm:ioctl_buf: buffer 1: unknown option `buf_length`; did you mean `buf_len`?",
        ),
        ("vm:exec({})", "vm:exec: expected a string as command, got table"),
        ("vm:dmesg('[a')", "vm:dmesg: pattern `[a`: "),
        ("vm:exec('true')", "vm:exec: VM `min` was not booted yet"),
        (
            "vm:wait_until(function() end, {timeout = 0, desc = 'ready'})",
            "vm:wait_until: ready not met within 0s",
        ),
    ] {
        let result = run_in_project(&source(body));
        let message = result.tests.first().and_then(|test| test.message.as_deref());
        assert!(
            message.is_some_and(|message| message.starts_with(expected)),
            "{body}: {result:?}"
        );
    }
}

#[test]
fn outputs_behave_as_strings() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let source = r##"
        test("text", function()
            assert_eq("hello\n", text.value)
            assert(text.contains("ell") and text:contains("ell") and not text.contains("x"))
            assert(text.starts_with("he") and text:starts_with("he") and not text:starts_with("el"))
            assert(text.trim() == "hello" and text:trim() == "hello")
            assert(#text == 6 and tostring(text) == "hello\n")
            assert(text .. "!" == "hello\n!" and "> " .. text == "> hello\n" and text .. text == "hello\nhello\n")
            assert(text == text and text == same and text ~= "hello\n")
            assert(text <= "hello\n" and "a" < text)
            assert_eq("hello\n", text)
            assert_eq(text, same)
            assert_contains(text, "ell")
            assert_contains("hello\nhello\n", text)
            assert(not pcall(function() return text .. {} end))
            assert(not pcall(function() return text < {} end))
            assert(not pcall(text.contains))
        end)
    "##;
    let result = crate::lua::start::run_prepared(&job(dir.path(), source), &silent(), |lua| {
        for name in ["text", "same"] {
            let text = crate::lua::api::text::Text::new(lua.create_string("hello\n")?);
            lua.globals()
                .set(name, crate::lua::api::binding::Kind::into_userdata(text, lua)?)?;
        }
        Ok(())
    });
    assert_eq!(statuses(&result), [("text", TestStatus::Passed)], "{result:?}");
}
