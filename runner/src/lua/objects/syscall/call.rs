//! `syscall`: a system call in the guest's agent.
//!
//! Input: a number and arguments. Output: what the kernel answers, as a table. Not here: the shapes of the
//! arguments.

use super::arguments;
use crate::lua::api::call::Call;
use crate::lua::api::raise::Answer;
use crate::lua::objects::remote::Remote;

/// `syscall(nr, …)`.
pub(crate) fn syscall<T: Remote>(call: &mut Call<'_>, this: &T) -> Answer {
    let request = arguments::arguments(call)?;
    let (ret, bufs) = this.ask(call, |client| client.syscall(request))?;
    arguments::result(call.lua(), ret, &bufs)
}
