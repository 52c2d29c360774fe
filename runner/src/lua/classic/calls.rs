//! System calls and ioctls in the classic dialect: arguments in a row, buffers by the index of their
//! argument.
//!
//! Input: `(nr, index or table of buffers, pointer specs, arguments)`. Output: the kernel's own return value,
//! `-errno` on failure, then the buffers as the call left them. Everything is checked here before the guest
//! hears of it, and messages name the index at fault. Not here: tables of results; the current dialect has
//! those.

use mlua::{LuaString, MultiValue, Table, Value};
use provium_guest::{Nested, Syscall, ops};

use crate::lua::api::binding::Method;
use crate::lua::api::call::Call;
use crate::lua::api::options::{Options, array};
use crate::lua::api::raise::{Answer, Raise};
use crate::lua::api::text::plain;
use crate::lua::api::value::{integer, type_name};
use crate::lua::objects::remote::Remote;
use crate::lua::objects::stream::tail;

/// Most bytes of one buffer.
const BUFFER_MAX: usize = 16 << 20;
/// Bytes of a pointer.
const POINTER: usize = 8;
/// Number of the system call ioctl.
const IOCTL: i64 = 16;

pub(super) fn methods<T: Remote>() -> Vec<Method<T>> {
    vec![
        Method {
            name: "syscall_buf",
            signature: "(nr: integer, index: integer, data: string, ...: integer): integer, string",
            doc: "Makes a system call one argument of which points at a buffer.",
            run: syscall_buf,
        },
        Method {
            name: "syscall_bufs",
            signature: "(nr: integer, bufs: table<integer, string>, ...: integer): integer, string ...",
            doc: "Makes a system call with a buffer for each of some arguments.",
            run: syscall_bufs,
        },
        Method {
            name: "syscall_ptr",
            signature: "(nr: integer, bufs: table<integer, string>, ptrs: table[], ...: integer): integer, string ...",
            doc: "Makes a system call with buffers that hold pointers to further buffers.",
            run: syscall_ptr,
        },
        Method {
            name: "ioctl_buf",
            signature: "(fd: integer|File, cmd: integer, data: string, specs: table[]): integer, string ...",
            doc: "Makes an ioctl whose structure holds pointers to further buffers.",
            run: ioctl_buf,
        },
    ]
}

/// `syscall(nr, a1 … a6)`: the kernel's return value.
pub(crate) fn syscall<T: Remote>(call: &mut Call<'_>, this: &T) -> Answer {
    let mut syscall = new(number(call, 0, "the number")?);
    arguments(call, 1, &mut syscall)?;
    make(call, this, syscall, &[])
}

/// `ioctl(fd, cmd, data?)`: the kernel's return value and the data after the call.
pub(crate) fn ioctl<T: Remote>(call: &mut Call<'_>, this: &T) -> Answer {
    call.at_most(3)?;
    let mut syscall = ioctl_call(call)?;
    match plain(call.arg(2)) {
        Value::Nil => make(call, this, syscall, &[]),
        Value::String(data) => {
            buffer(call, &mut syscall, "the data", &data)?;
            syscall.ptrs.push((2, 0));
            make(call, this, syscall, &[0])
        }
        value @ (Value::Integer(_) | Value::Number(_)) => {
            let value = integer(&value).map_err(|message| call.fail(format_args!("the data: {message}")))?;
            syscall.args[2] = value.cast_unsigned();
            make(call, this, syscall, &[])
        }
        other => Err(call.wrong("a string (or an integer) as data", &other)),
    }
}

fn syscall_buf<T: Remote>(call: &mut Call<'_>, this: &T) -> Answer {
    let mut syscall = new(number(call, 0, "the number")?);
    let given = arguments(call, 3, &mut syscall)?;
    let index = number(call, 1, "the index of the buffer's argument")?;
    let data = string(call, 2, "a string as the buffer")?;
    buffer(
        call,
        &mut syscall,
        &format!("the buffer of argument {index}"),
        &data,
    )?;
    syscall.ptrs.push((argument_index(call, index, given)?, 0));
    make(call, this, syscall, &[0])
}

fn syscall_bufs<T: Remote>(call: &mut Call<'_>, this: &T) -> Answer {
    let mut syscall = new(number(call, 0, "the number")?);
    let given = arguments(call, 2, &mut syscall)?;
    buffers(call, 1, given, &mut syscall)?;
    let outputs: Vec<_> = (0..syscall.bufs.len()).collect();
    make(call, this, syscall, &outputs)
}

fn syscall_ptr<T: Remote>(call: &mut Call<'_>, this: &T) -> Answer {
    let mut syscall = new(number(call, 0, "the number")?);
    let given = arguments(call, 3, &mut syscall)?;
    buffers(call, 1, given, &mut syscall)?;
    let mut outputs: Vec<_> = (0..syscall.bufs.len()).collect();
    for (at, spec) in specs(call, 2)? {
        let what = format!("{}: pointer {at}", call.what());
        let spec = Options::new(call.lua(), &what, spec)?;
        let index = required(&spec, "buf_idx")?;
        let parent = syscall
            .ptrs
            .iter()
            .find(|(argument, _)| i64::from(*argument) == index)
            .map(|(_, buffer)| *buffer);
        let parent = parent.ok_or_else(|| {
            spec.fail(
                "buf_idx",
                format_args!("{index} is not the index of a buffer in the table"),
            )
        })?;
        pointed_at(&spec, "data_len", &mut syscall, parent, &mut outputs)?;
        spec.finish()?;
    }
    make(call, this, syscall, &outputs)
}

fn ioctl_buf<T: Remote>(call: &mut Call<'_>, this: &T) -> Answer {
    call.at_most(4)?;
    let mut syscall = ioctl_call(call)?;
    let data = string(call, 2, "a string as the structure")?;
    buffer(call, &mut syscall, "the structure", &data)?;
    syscall.ptrs.push((2, 0));
    let mut outputs = vec![0];
    for (at, spec) in specs(call, 3)? {
        let what = format!("{}: buffer {at}", call.what());
        let spec = Options::new(call.lua(), &what, spec)?;
        pointed_at(&spec, "buf_len", &mut syscall, 0, &mut outputs)?;
        spec.finish()?;
    }
    make(call, this, syscall, &outputs)
}

fn new(nr: i64) -> Syscall {
    Syscall {
        nr,
        args: [0; 6],
        bufs: Vec::new(),
        ptrs: Vec::new(),
        nested: Vec::new(),
    }
}

fn ioctl_call(call: &Call<'_>) -> Result<Syscall, Raise> {
    let mut syscall = new(IOCTL);
    syscall.args[0] = i64::from(tail::descriptor(call, 0)?).cast_unsigned();
    syscall.args[1] = number(call, 1, "the command")?.cast_unsigned();
    Ok(syscall)
}

fn number(call: &Call<'_>, at: usize, what: &str) -> Result<i64, Raise> {
    integer(call.arg(at)).map_err(|message| call.fail(format_args!("{what}: {message}")))
}

fn string(call: &Call<'_>, at: usize, expected: &str) -> Result<LuaString, Raise> {
    match plain(call.arg(at)) {
        Value::String(string) => Ok(string),
        other => Err(call.wrong(expected, &other)),
    }
}

/// The integers from argument `from` on; returns how many there are.
fn arguments(call: &Call<'_>, from: usize, syscall: &mut Syscall) -> Result<usize, Raise> {
    let given = call.given().saturating_sub(from);
    if given > syscall.args.len() {
        return Err(call.fail(format_args!("a system call has at most 6 arguments, got {given}")));
    }
    for at in 0..given {
        syscall.args[at] = match call.arg(from + at) {
            Value::Nil => 0,
            value => integer(value)
                .map_err(|message| call.fail(format_args!("argument {at}: {message}")))?
                .cast_unsigned(),
        };
    }
    Ok(given)
}

fn argument_index(call: &Call<'_>, index: i64, given: usize) -> Result<u8, Raise> {
    let found = u8::try_from(index)
        .ok()
        .filter(|index| usize::from(*index) < given);
    found.ok_or_else(|| {
        call.fail(format_args!(
            "argument {index} is past the argument list, which has {given} (counted from 0); give a 0 in its place"
        ))
    })
}

fn buffer(call: &Call<'_>, syscall: &mut Syscall, what: &str, data: &LuaString) -> Result<(), Raise> {
    let data = data.as_bytes();
    if data.len() > BUFFER_MAX {
        let size = data.len();
        return Err(call.fail(format_args!("{what} has {size} bytes, the most is 16 MiB")));
    }
    syscall.bufs.push(data.to_vec().into());
    Ok(())
}

/// `{[argument] = data}`, in the order of the arguments.
fn buffers(call: &Call<'_>, at: usize, given: usize, syscall: &mut Syscall) -> Result<(), Raise> {
    let Value::Table(table) = call.arg(at) else {
        return Err(call.wrong("a table of buffers by argument", call.arg(at)));
    };
    let mut entries: Vec<(i64, LuaString)> = Vec::new();
    for pair in table.pairs::<Value, Value>() {
        let (key, value) = pair?;
        let index =
            integer(&key).map_err(|message| call.fail(format_args!("the index of a buffer: {message}")))?;
        match plain(&value) {
            Value::String(data) => entries.push((index, data)),
            other => {
                let got = type_name(&other);
                return Err(call.fail(format_args!(
                    "the buffer of argument {index}: expected a string, got {got}"
                )));
            }
        }
    }
    entries.sort_by_key(|(index, _)| *index);
    for (position, (index, data)) in entries.iter().enumerate() {
        let argument = argument_index(call, *index, given)?;
        buffer(call, syscall, &format!("the buffer of argument {index}"), data)?;
        // At most six, one for each argument.
        syscall.ptrs.push((argument, position as u32));
    }
    Ok(())
}

/// The tables of an array of specs, with their positions.
fn specs(call: &Call<'_>, at: usize) -> Result<Vec<(usize, Table)>, Raise> {
    let items = match call.arg(at) {
        Value::Table(table) => array(table)
            .ok_or_else(|| call.fail("the pointers: expected an array without other keys or gaps"))?,
        other => return Err(call.wrong("an array of pointers", other)),
    };
    let table = |(at, item): (usize, Value)| match item {
        Value::Table(table) => Ok((at + 1, table)),
        other => Err(call.fail(format_args!(
            "pointer {}: expected a table, got {}",
            at + 1,
            type_name(&other)
        ))),
    };
    items.into_iter().enumerate().map(table).collect()
}

fn required(spec: &Options<'_>, key: &'static str) -> Result<i64, Raise> {
    spec.integer(key)?.ok_or_else(|| spec.fail(key, "is missing"))
}

/// Adds the buffer that a spec describes, and the pointer to it in buffer `parent`.
fn pointed_at(
    spec: &Options<'_>,
    len_key: &'static str,
    syscall: &mut Syscall,
    parent: u32,
    outputs: &mut Vec<usize>,
) -> Result<(), Raise> {
    let offset = required(spec, "ptr_offset")?;
    let size = syscall.bufs[parent as usize].len();
    let offset = u32::try_from(offset)
        .ok()
        .filter(|offset| *offset as usize + POINTER <= size)
        .ok_or_else(|| {
            spec.fail(
                "ptr_offset",
                format_args!("a pointer of 8 bytes at {offset} is outside its buffer of {size} bytes"),
            )
        })?;
    let mut data = spec.bytes("data")?.unwrap_or_default();
    let len = match spec.integer(len_key)? {
        None => data.len(),
        Some(len) => usize::try_from(len)
            .ok()
            .filter(|len| *len >= data.len())
            .ok_or_else(|| {
                spec.fail(
                    len_key,
                    format_args!("{len} is less than the data's {} bytes", data.len()),
                )
            })?,
    };
    if len > BUFFER_MAX {
        return Err(spec.fail(len_key, format_args!("{len} bytes, the most is 16 MiB")));
    }
    data.resize(len, 0);
    let child = syscall.bufs.len();
    if spec.boolean("output")?.unwrap_or(false) {
        outputs.push(child);
    }
    syscall.bufs.push(data.into());
    syscall.nested.push(Nested {
        parent,
        offset,
        child: child as u32,
    });
    Ok(())
}

/// Makes the call; returns its value, then the buffers that are outputs.
fn make<T: Remote>(call: &Call<'_>, this: &T, syscall: Syscall, outputs: &[usize]) -> Answer {
    let (ret, bufs) = this.ask(call, |client| client.ask(ops::syscall(syscall)))?;
    let mut values = MultiValue::new();
    values.push_back(Value::Integer(ret));
    for at in outputs {
        let bytes = bufs.get(*at).map(Vec::as_slice).unwrap_or_default();
        values.push_back(Value::String(call.lua().create_string(bytes)?));
    }
    Ok(values)
}
