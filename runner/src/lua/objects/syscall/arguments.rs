//! The two call shapes of `syscall`: integers only, or a table with buffers and pointers.
//!
//! Input: `(nr, a1 … a6)` or `(nr, {args=, bufs=, ptrs=, nested=})`, indices counted as Lua does. Output: the
//! wire's [`Syscall`], indices counted from 0, everything in range. Not here: sense; a pointer in an integer
//! argument is the test's own business and the kernel answers EFAULT.

use mlua::{Lua, MultiValue, Table, Value};
use provium_guest::{Nested, Syscall};

use crate::lua::api::call::Call;
use crate::lua::api::options::{Options, array};
use crate::lua::api::raise::{Answer, Raise};
use crate::lua::api::value::{integer, type_name};

/// Most bytes of one buffer.
pub(crate) const BUFFER_MAX: usize = 16 << 20;
/// Largest error number the kernel returns, negated, in place of a result.
const ERRNO_MAX: i64 = 4095;

/// Reads the arguments of a `syscall`.
pub(crate) fn arguments(call: &Call<'_>) -> Result<Syscall, Raise> {
    let nr = integer(call.arg(0)).map_err(|message| call.fail(format_args!("the number: {message}")))?;
    let mut syscall = Syscall {
        nr,
        args: [0; 6],
        bufs: Vec::new(),
        ptrs: Vec::new(),
        nested: Vec::new(),
    };
    if let Value::Table(table) = call.arg(1) {
        call.at_most(2)?;
        structured(call, table, &mut syscall)?;
        return Ok(syscall);
    }
    let given = call.given().saturating_sub(1);
    if given > 6 {
        return Err(call.fail(format_args!("a system call has at most 6 arguments, got {given}")));
    }
    for at in 0..given {
        syscall.args[at] = argument(call, at + 1, call.arg(at + 1))?;
    }
    Ok(syscall)
}

fn argument(call: &Call<'_>, at: usize, value: &Value) -> Result<u64, Raise> {
    if let Value::String(_) = value {
        return Err(call.fail(format_args!(
            "argument {at}: expected an integer, got string; a buffer goes into the table form, {}(nr, {{args=, \
             bufs=, ptrs=}})",
            call.what()
        )));
    }
    integer(value)
        .map(i64::cast_unsigned)
        .map_err(|message| call.fail(format_args!("argument {at}: {message}")))
}

fn structured(call: &Call<'_>, table: &Table, syscall: &mut Syscall) -> Result<(), Raise> {
    let options = Options::new(call.lua(), call.what(), table.clone())?;
    if options.has_items() {
        return Err(call.fail("array items beside option keys; put the arguments in `args`"));
    }
    let items = |key: &'static str| -> Result<Vec<Value>, Raise> {
        match options.table(key)? {
            None => Ok(Vec::new()),
            Some(table) => {
                array(&table).ok_or_else(|| options.fail(key, "expected an array without other keys or gaps"))
            }
        }
    };
    let args = items("args")?;
    if args.len() > 6 {
        return Err(options.fail(
            "args",
            format_args!("a system call has at most 6 arguments, got {}", args.len()),
        ));
    }
    for (at, value) in args.iter().enumerate() {
        syscall.args[at] = argument(call, at + 1, value)?;
    }
    syscall.bufs = buffers(&options)?.into_iter().map(Into::into).collect();
    if let Some(table) = options.table("ptrs")? {
        syscall.ptrs = pointers(&options, &table, syscall.bufs.len())?;
    }
    for (at, value) in items("nested")?.iter().enumerate() {
        syscall.nested.push(nested(call, at + 1, value, syscall)?);
    }
    options.finish()
}

/// Option `bufs`: strings.
pub(crate) fn buffers(options: &Options<'_>) -> Result<Vec<Vec<u8>>, Raise> {
    let Some(table) = options.table("bufs")? else {
        return Ok(Vec::new());
    };
    let items =
        array(&table).ok_or_else(|| options.fail("bufs", "expected an array without other keys or gaps"))?;
    let buffer = |(at, value): (usize, &Value)| match value {
        Value::String(bytes) if bytes.as_bytes().len() > BUFFER_MAX => {
            let size = bytes.as_bytes().len();
            let message = format!("buffer {} has {size} bytes, the most is 16 MiB", at + 1);
            Err(options.fail("bufs", message))
        }
        Value::String(bytes) => Ok(bytes.as_bytes().to_vec()),
        other => {
            let got = type_name(other);
            let message = format!("buffer {}: expected a string, got {got}", at + 1);
            Err(options.fail("bufs", message))
        }
    };
    items.iter().enumerate().map(buffer).collect()
}

/// `ptrs[i]`: the argument, from 0, that gets the address of `bufs[i]`. A buffer may have none, being nested.
fn pointers(options: &Options<'_>, table: &Table, buffers: usize) -> Result<Vec<(u8, u32)>, Raise> {
    let mut pointers: Vec<(u8, u32)> = Vec::new();
    for pair in table.pairs::<Value, Value>() {
        let (key, value) = pair?;
        let buffer =
            integer(&key).map_err(|message| options.fail("ptrs", format_args!("a key: {message}")))?;
        if !(1..=buffers as i64).contains(&buffer) {
            return Err(options.fail(
                "ptrs",
                format_args!("[{buffer}] is for a buffer that `bufs` does not have"),
            ));
        }
        let argument =
            integer(&value).map_err(|message| options.fail("ptrs", format_args!("[{buffer}]: {message}")))?;
        let argument = u8::try_from(argument)
            .ok()
            .filter(|argument| *argument < 6)
            .ok_or_else(|| {
                options.fail(
                    "ptrs",
                    format_args!("[{buffer}] = {argument}: arguments are counted from 0 to 5"),
                )
            })?;
        if let Some((_, other)) = pointers.iter().find(|(taken, _)| *taken == argument) {
            let other = other + 1;
            return Err(options.fail(
                "ptrs",
                format_args!("buffers {other} and {buffer} both go to argument {argument}"),
            ));
        }
        pointers.push((argument, (buffer - 1) as u32));
    }
    pointers.sort_unstable();
    Ok(pointers)
}

fn nested(call: &Call<'_>, at: usize, value: &Value, syscall: &Syscall) -> Result<Nested, Raise> {
    let what = format!("{}: option `nested`, entry {at}", call.what());
    let Value::Table(table) = value else {
        return Err(Raise::text(format!(
            "{what}: expected a table {{parent=, offset=, child=}}, got {}",
            type_name(value)
        )));
    };
    let entry = Options::new(call.lua(), &what, table.clone())?;
    let buffer = |key: &'static str| -> Result<u32, Raise> {
        let index = entry.integer(key)?.ok_or_else(|| entry.fail(key, "is missing"))?;
        match usize::try_from(index) {
            Ok(index) if (1..=syscall.bufs.len()).contains(&index) => Ok((index - 1) as u32),
            _ => Err(entry.fail(
                key,
                format_args!("{index} is not one of the {} buffers", syscall.bufs.len()),
            )),
        }
    };
    let (parent, child) = (buffer("parent")?, buffer("child")?);
    let offset = entry
        .integer("offset")?
        .ok_or_else(|| entry.fail("offset", "is missing"))?;
    let size = syscall.bufs[parent as usize].len();
    let fits = u32::try_from(offset)
        .ok()
        .filter(|offset| *offset as usize + 8 <= size);
    let offset = fits.ok_or_else(|| {
        entry.fail(
            "offset",
            format_args!("a pointer of 8 bytes at {offset} does not fit a buffer of {size} bytes"),
        )
    })?;
    entry.finish()?;
    Ok(Nested {
        parent,
        offset,
        child,
    })
}

/// `{ret, result, errno, out_bufs}`: what the kernel returned, what C's wrapper would return, its error
/// number (0 when it succeeded) and the buffers after the call.
pub(crate) fn result(lua: &Lua, ret: i64, bufs: &[Vec<u8>]) -> Answer {
    Ok(MultiValue::from_vec(vec![Value::Table(table(lua, ret, bufs)?)]))
}

/// The result of a system call as [`result`] returns it, as a table.
pub(crate) fn table(lua: &Lua, ret: i64, bufs: &[Vec<u8>]) -> mlua::Result<Table> {
    let errno = if (-ERRNO_MAX..0).contains(&ret) { -ret } else { 0 };
    let buffers = lua.create_table_with_capacity(bufs.len(), 0)?;
    for (at, bytes) in bufs.iter().enumerate() {
        buffers.raw_set(at + 1, lua.create_string(bytes)?)?;
    }
    let table = lua.create_table()?;
    table.raw_set("ret", ret)?;
    table.raw_set("result", if errno == 0 { ret } else { -1 })?;
    table.raw_set("errno", errno)?;
    table.raw_set("out_bufs", buffers)?;
    Ok(table)
}
