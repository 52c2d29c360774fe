//! `ioctl` and `read_mem`: two system calls whose memory is awkward to put together by hand.
//!
//! Input: a descriptor with an integer or a struct, perhaps with buffers it points at; or an address. Output:
//! the kernel's answer and the memory afterwards. Not here: what the requests of a driver mean.

use mlua::{LuaString, MultiValue, Value};
use provium_guest::{Nested, Syscall, ops};

use super::arguments;
use crate::lua::api::call::Call;
use crate::lua::api::options::array;
use crate::lua::api::raise::{Answer, Raise, one};
use crate::lua::api::value::integer;
use crate::lua::objects::remote::Remote;
use crate::lua::objects::stream::tail;

/// Number of the system call ioctl.
const SYS_IOCTL: i64 = 16;
/// Number of the system call process_vm_readv.
const SYS_PROCESS_VM_READV: i64 = 310;
/// Error number of memory that is not there.
const EFAULT: i64 = 14;
/// Bytes of a pointer.
const POINTER: usize = 8;

/// `ioctl(fd, cmd, data?, {bufs=, ptr_offsets=})`.
pub(crate) fn ioctl<T: Remote>(call: &mut Call<'_>, remote: &T) -> Answer {
    call.at_most(4)?;
    let fd = tail::descriptor(call, 0)?;
    let command =
        integer(call.arg(1)).map_err(|message| call.fail(format_args!("the command: {message}")))?;
    let mut request = Syscall {
        nr: SYS_IOCTL,
        args: [i64::from(fd).cast_unsigned(), command.cast_unsigned(), 0, 0, 0, 0],
        bufs: Vec::new(),
        ptrs: Vec::new(),
        nested: Vec::new(),
    };
    let data = match call.arg(2) {
        Value::Nil => None,
        Value::String(data) => Some(data.clone()),
        value @ (Value::Integer(_) | Value::Number(_)) => {
            let number = integer(value).map_err(|message| call.fail(format_args!("the data: {message}")))?;
            request.args[2] = number.cast_unsigned();
            None
        }
        other => return Err(call.wrong("a string or an integer as data", other)),
    };
    if let Some(data) = &data {
        let bytes = data.as_bytes();
        if bytes.len() > arguments::BUFFER_MAX {
            let size = bytes.len();
            return Err(call.fail(format_args!("the data has {size} bytes, the most is 16 MiB")));
        }
        request.bufs.push(bytes.to_vec().into());
        request.ptrs.push((2, 0));
    }
    buffers(call, data.as_ref(), &mut request)?;
    let (ret, bufs) = remote.ask(call, |client| client.ask(ops::syscall(request)))?;
    let (out_data, out_bufs) = bufs.split_at(usize::from(data.is_some()));
    let result = arguments::table(call.lua(), ret, out_bufs)?;
    if let Some(out_data) = out_data.first() {
        result.raw_set("out_data", call.lua().create_string(out_data)?)?;
    }
    one(call.lua(), result)
}

/// Options `bufs` and `ptr_offsets`.
fn buffers(call: &Call<'_>, data: Option<&LuaString>, request: &mut Syscall) -> Result<(), Raise> {
    let options = call.options(3)?;
    let bufs = arguments::buffers(&options)?;
    let offsets = match options.table("ptr_offsets")? {
        None => Vec::new(),
        Some(table) => array(&table)
            .ok_or_else(|| options.fail("ptr_offsets", "expected an array without other keys or gaps"))?,
    };
    if bufs.len() != offsets.len() {
        let message = format!(
            "{} offset(s) for {} buffer(s); each buffer needs the offset in the data where its address goes",
            offsets.len(),
            bufs.len()
        );
        return Err(options.fail("ptr_offsets", message));
    }
    let size = data.map_or(0, |data| data.as_bytes().len());
    for (at, (buffer, offset)) in bufs.into_iter().zip(&offsets).enumerate() {
        let offset = integer(offset)
            .map_err(|message| options.fail("ptr_offsets", format_args!("[{}]: {message}", at + 1)))?;
        let fits = u32::try_from(offset)
            .ok()
            .filter(|offset| *offset as usize + POINTER <= size);
        let offset = fits.ok_or_else(|| {
            let message = format!(
                "[{}]: a pointer of 8 bytes at {offset} does not fit data of {size} bytes",
                at + 1
            );
            options.fail("ptr_offsets", message)
        })?;
        request.bufs.push(buffer.into());
        request.nested.push(Nested {
            parent: 0,
            offset,
            child: at as u32 + 1,
        });
    }
    options.finish()
}

/// `read_mem(addr, len)`: the kernel reads it from the agent's process for that process.
pub(crate) fn read_mem<T: Remote>(call: &mut Call<'_>, remote: &T) -> Answer {
    call.at_most(2)?;
    let address =
        integer(call.arg(0)).map_err(|message| call.fail(format_args!("the address: {message}")))?;
    let length = integer(call.arg(1)).map_err(|message| call.fail(format_args!("the length: {message}")))?;
    let size = match usize::try_from(length) {
        Ok(size) if size <= arguments::BUFFER_MAX => size,
        _ => {
            return Err(call.fail(format_args!("{length} is no length; it goes from 0 to 16 MiB")));
        }
    };
    let iovec = |base: u64| [base.to_ne_bytes(), (size as u64).to_ne_bytes()].concat();
    let (ret, bufs) = remote.ask(call, |client| {
        client.ask(ops::syscall(Syscall {
            nr: SYS_PROCESS_VM_READV,
            args: [client.pid().into(), 0, 1, 0, 1, 0],
            bufs: vec![
                iovec(0).into(),
                iovec(address.cast_unsigned()).into(),
                vec![0; size].into(),
            ],
            ptrs: vec![(1, 0), (3, 1)],
            nested: vec![Nested {
                parent: 0,
                offset: 0,
                child: 2,
            }],
        }))
    })?;
    let errno = match ret {
        ret if ret < 0 => -ret,
        // A part of it is not there.
        ret if ret != length => EFAULT,
        _ => {
            let bytes = bufs.get(2).map_or(&[][..], |bytes| bytes);
            return one(call.lua(), call.lua().create_string(bytes)?);
        }
    };
    Ok(MultiValue::from_vec(vec![Value::Nil, Value::Integer(errno)]))
}
