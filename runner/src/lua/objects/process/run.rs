//! `run`: a command of the guest to its end.
//!
//! Input: a command. Output: a [`RunResult`]. Not here: the shapes of a command; `command` reads those.

use super::command::command;
use super::run_result::RunResult;
use crate::lua::api::binding::Kind;
use crate::lua::api::call::Call;
use crate::lua::api::raise::{Answer, one};
use crate::lua::objects::remote::Remote;

/// `run(cmd, opts?)`.
pub(crate) fn run<T: Remote>(call: &mut Call<'_>, this: &T) -> Answer {
    let command = command(call)?;
    let outcome = this.ask(call, |client| client.exec(&command.spec))?;
    let result = RunResult::new(call.lua(), command.shown, &outcome)?;
    one(call.lua(), result.into_userdata(call.lua())?)
}
