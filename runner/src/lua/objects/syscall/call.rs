//! `syscall`: a system call in the guest's agent.
//!
//! Input: a number and arguments. Output: what the kernel answers, as a table. Not here: the shapes of the
//! arguments.

use provium_guest::ops;

use super::arguments;
use crate::lua::api::call::Call;
use crate::lua::api::raise::Raise;
use crate::lua::objects::operation::{LuaOp, Outcome};

/// `(nr, …)`.
pub(crate) fn syscall(call: &Call<'_>) -> Result<LuaOp, Raise> {
    let op = ops::syscall(arguments::arguments(call)?);
    Ok(op.map(|(ret, bufs)| Outcome::of(move |lua| arguments::table(lua, ret, &bufs))))
}
