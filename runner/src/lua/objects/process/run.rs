//! `run`: a command of the guest to its end.
//!
//! Input: a command. Output: a [`RunResult`]. Not here: the shapes of a command; `command` reads those.

use provium_guest::ops;

use super::command::command;
use super::run_result::RunResult;
use crate::lua::api::binding::Kind;
use crate::lua::api::call::Call;
use crate::lua::api::raise::Raise;
use crate::lua::objects::operation::{LuaOp, Outcome};

/// `(cmd, opts?)`.
pub(crate) fn run(call: &Call<'_>) -> Result<LuaOp, Raise> {
    let command = command(call)?;
    let explanation = command.explanation();
    Ok(ops::exec(command.spec).explained(explanation).map(|outcome| {
        Outcome::of(move |lua| RunResult::new(lua, command.shown, &outcome)?.into_userdata(lua))
    }))
}
