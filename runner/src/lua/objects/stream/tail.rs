//! `tail_file` and `fd_stream`: streams of a file that grows or of a descriptor.
//!
//! Input: a path, a descriptor or an open file. Output: a [`Tail`](super::handle::Tail). Not here: how the
//! bytes come.

use mlua::Value;
use provium_guest::{Follow, FollowStart};

use super::followed::follow;
use crate::lua::api::binding::this;
use crate::lua::api::call::Call;
use crate::lua::api::raise::{Answer, Raise};
use crate::lua::api::value::{integer, type_name};
use crate::lua::objects::agent::Made;
use crate::lua::objects::open_file::OpenedFile;
use crate::lua::objects::remote::Remote;

/// `tail_file(path, {start=})`.
pub(crate) fn tail_file<T: Remote>(call: &mut Call<'_>, remote: &T) -> Answer {
    call.at_most(2)?;
    let path = call.path(0)?;
    let options = call.options(1)?;
    let start = match options.value("start")? {
        Value::Nil => FollowStart::End,
        Value::String(text) if text.as_bytes() == b"end" => FollowStart::End,
        Value::String(text) if matches!(&*text.as_bytes(), b"beginning" | b"start") => FollowStart::Offset(0),
        Value::String(text) => {
            let text = text.to_string_lossy();
            let message = format!("expected \"end\", \"beginning\", \"start\" or an offset, got {text:?}");
            return Err(options.fail("start", message));
        }
        value @ (Value::Integer(_) | Value::Number(_)) => {
            FollowStart::Offset(integer(&value).map_err(|message| options.fail("start", message))?)
        }
        other => {
            let message = format!(
                "expected \"end\", \"beginning\", \"start\" or an offset, got {}",
                type_name(&other)
            );
            return Err(options.fail("start", message));
        }
    };
    options.finish()?;
    let shown = format!("tail_file of {}", String::from_utf8_lossy(&path));
    let path = path.into();
    let made = Made::now(call, remote.agent());
    follow(call, made, Follow::File { path, start }, shown)
}

/// `fd_stream(fd or File)`.
pub(crate) fn fd_stream<T: Remote>(call: &mut Call<'_>, remote: &T) -> Answer {
    call.at_most(1)?;
    if let Some(file) = this::<OpenedFile>(call.arg(0)) {
        return file.stream(call);
    }
    let fd = descriptor(call, 0)?;
    let made = Made::now(call, remote.agent());
    follow(
        call,
        made,
        Follow::Fd { fd },
        format!("fd_stream of descriptor {fd}"),
    )
}

/// A descriptor: an integer, or an open file.
pub(crate) fn descriptor(call: &Call<'_>, at: usize) -> Result<i32, Raise> {
    if let Some(file) = this::<OpenedFile>(call.arg(at)) {
        return file.open_fd(call);
    }
    let expected = "a descriptor (an integer or a File)";
    match call.arg(at) {
        value @ (Value::Integer(_) | Value::Number(_)) => {
            let number =
                integer(value).map_err(|message| call.fail(format_args!("the descriptor: {message}")))?;
            i32::try_from(number).map_err(|_| call.fail(format_args!("{number} is no descriptor")))
        }
        other => Err(call.wrong(expected, other)),
    }
}
