//! Whether two Lua values are the same to a test: tables by content.
//!
//! Input: two values. Output: yes or no, or the depth at which the comparison gives up. Not here:
//! metatables other than `__eq`.

use mlua::{Table, Value};

use super::raise::Raise;

/// Tables deeper inside each other than this are not compared.
const DEPTH_MAX: usize = 200;

/// Compares two values: numbers by value whatever their type, tables by content, the rest as Lua's `==`.
pub(crate) fn equal(a: &Value, b: &Value) -> Result<bool, Raise> {
    compare(a, b, &mut Vec::new())
}

/// `seen` are the pairs of tables above this one; a pair met again below itself is taken as equal.
fn compare(a: &Value, b: &Value, seen: &mut Vec<(usize, usize)>) -> Result<bool, Raise> {
    match (a, b) {
        (Value::Integer(a), Value::Number(b)) | (Value::Number(b), Value::Integer(a)) => {
            // Exact: an integer that a float can only stand for after rounding is not equal to it.
            Ok(b.fract() == 0.0 && *b as i128 == i128::from(*a))
        }
        (Value::Table(a), Value::Table(b)) => tables(a, b, seen),
        (a, b) => Ok(a.equals(b)?),
    }
}

fn tables(a: &Table, b: &Table, seen: &mut Vec<(usize, usize)>) -> Result<bool, Raise> {
    if a.equals(b)? {
        return Ok(true);
    }
    let pair = (a.to_pointer() as usize, b.to_pointer() as usize);
    if seen.contains(&pair) {
        return Ok(true);
    }
    if seen.len() == DEPTH_MAX {
        return Err(Raise::text(format!(
            "tables more than {DEPTH_MAX} levels deep cannot be compared"
        )));
    }
    seen.push(pair);
    let entries = |table: &Table| table.pairs::<Value, Value>().count();
    let same = entries(a) == entries(b) && contains(a, b, seen)?;
    seen.pop();
    Ok(same)
}

/// Whether every entry of `a` is in `b` with an equal value.
fn contains(a: &Table, b: &Table, seen: &mut Vec<(usize, usize)>) -> Result<bool, Raise> {
    for pair in a.pairs::<Value, Value>() {
        let (key, value) = pair?;
        if !compare(&value, &b.raw_get(key)?, seen)? {
            return Ok(false);
        }
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;
    use mlua::Lua;

    fn same(code: &str) -> bool {
        let lua = Lua::new();
        let (a, b): (Value, Value) = lua.load(format!("return {code}")).eval().expect(code);
        equal(&a, &b).expect(code)
    }

    #[test]
    fn values_are_equal_by_content() {
        for code in [
            "1, 1.0",
            "'a', 'a'",
            "nil, nil",
            "{}, {}",
            "{1, {2, a = {}}}, {1, {2, a = {}}}",
            "(function() local t = {} t.t = t return t end)(), (function() local t = {} t.t = t return t end)()",
        ] {
            assert!(same(code), "{code}");
        }
        for code in [
            "1, 2",
            "1, '1'",
            "0/0, 0/0",
            "nil, false",
            "{1}, {1, 2}",
            "{1, 2}, {1}",
            "{a = 1}, {a = 2}",
            "{}, 'x'",
            "9007199254740993, 9007199254740992.0",
            "math.maxinteger, 2^63",
        ] {
            assert!(!same(code), "{code}");
        }
    }

    #[test]
    fn depth_is_bounded() {
        let lua = Lua::new();
        let code = "local function deep() local t = {} for _ = 1, 100000 do t = {t} end return t end return \
                    deep(), deep()";
        let (a, b): (Value, Value) = lua.load(code).eval().expect("two tables");
        assert!(matches!(equal(&a, &b), Err(Raise::Text(text)) if text.contains("200 levels")));
    }
}
