//! `json.encode` and `json.decode`.

use super::*;

#[test]
fn values_go_there_and_back() {
    passes(
        r#"
        for _, text in ipairs({
            "null", "true", "1", "-9223372036854775808", "9223372036854775807", "1.5", '"a\\"\\n\\u0000ü"',
            "[1,2,[3]]", '{"a":{"b":[true,false]},"c":null}', "1e300",
        }) do
            local value = json.decode(text)
            t:assert_eq(json.decode(json.encode(value)), value, text)
        end
        t:assert_eq(json.encode({1, "two", {x = 3.0}}), '[1,"two",{"x":3.0}]')
        t:assert_eq(json.encode({b = 1, a = 2}), '{"a":2,"b":1}')
        t:assert_eq(json.encode({[1] = 1, [3] = 3}), "[1,null,3]")
        t:assert_eq(json.encode({[0] = 1, [2] = 2}), '{"0":1,"2":2}')
        t:assert_eq(json.encode({}), "{}")
        t:assert_eq(json.encode(nil), "null")
        local big = json.decode("18446744073709551615")
        t:assert_eq(math.type(big), "integer")
        t:assert_eq(big, -1)
        t:assert_eq(string.format("%u", 0) and string.format("%x", json.decode("9223372036854775808")), "8000000000000000")
        t:assert_eq(math.type(json.decode("1.0")), "float")
        t:assert_eq(json.decode("[null,1]")[2], 1)
        local shared = {1}
        t:assert_eq(json.encode({shared, shared}), "[[1],[1]]")
        "#
        .replace("string.format(\"%u\", 0) and ", "")
        .as_str(),
    );
}

#[test]
fn what_has_no_form_raises() {
    for (call, expected) in [
        (
            "json.encode(print)",
            "json.encode: a function has no form in JSON",
        ),
        ("json.encode({t})", "json.encode: a t has no form in JSON"),
        ("json.encode(0/0)", "has no form in JSON"),
        ("json.encode(math.huge)", "json.encode: inf has no form in JSON"),
        (
            "json.encode({[{}] = 1})",
            "json.encode: a table as key has no form in JSON",
        ),
        (
            "json.encode('\\xff')",
            "json.encode: a string that is not UTF-8 has no form in JSON",
        ),
        (
            "local x = {} x.y = {x} json.encode(x)",
            "json.encode: a table that contains itself has no form in JSON",
        ),
        (
            "local x = {} for _ = 1, 1000 do x = {x} end json.encode(x)",
            "json.encode: tables more than 127 levels deep",
        ),
        (
            "json.encode({[1] = 1, [10^15 // 1 | 0] = 2})",
            "json.encode: an array of 1000000000000000 items of which 2 exist",
        ),
        (
            "json.decode('{\"a\": 1,\\n \"b\" 2}')",
            "json.decode: expected `:` at line 2 column 6",
        ),
        (
            "json.decode(('['):rep(1000))",
            "json.decode: recursion limit exceeded at line 1 column 128",
        ),
        (
            "json.decode('')",
            "json.decode: EOF while parsing a value at line 1 column 0",
        ),
        (
            "json.decode(1)",
            "json.decode: expected a string of JSON, got number",
        ),
    ] {
        let message = failure(call);
        assert!(message.contains(expected), "{call}: {message}");
    }
}
