//! An operation of the agent as Lua asks for it: alone, or recorded in a batch.
//!
//! Input: a function that reads a call's arguments. Output: the guest's operation, and what it comes to as a
//! Lua value. Not here: which operations there are; `tables` lists them.

use mlua::{IntoLua, Lua, Value};
use provium_guest::Op;

use crate::lua::api::call::Call;
use crate::lua::api::raise::{Answer, Raise, none, one};
use crate::lua::objects::remote::Remote;

/// An operation that comes to a Lua value.
pub(crate) type LuaOp = Op<Outcome>;

/// A function that reads an operation from a call's arguments.
pub(crate) type ReadOp = fn(&Call<'_>) -> Result<LuaOp, Raise>;

/// Makes the Lua value.
type IntoValue = Box<dyn FnOnce(&Lua) -> mlua::Result<Value> + Send>;

/// What an operation came to; there is no value where there is nothing to say.
pub(crate) struct Outcome(Option<IntoValue>);

impl Outcome {
    /// Nothing but that it is done.
    pub(crate) fn done(_: ()) -> Outcome {
        Outcome(None)
    }

    /// A value that `make` makes.
    pub(crate) fn of<V: IntoLua>(make: impl FnOnce(&Lua) -> mlua::Result<V> + Send + 'static) -> Outcome {
        Outcome(Some(Box::new(move |lua| make(lua)?.into_lua(lua))))
    }

    /// The value for an entry of a batch: true where there is none.
    pub(crate) fn in_batch(self, lua: &Lua) -> mlua::Result<Value> {
        self.0.map_or(Ok(Value::Boolean(true)), |make| make(lua))
    }
}

/// Asks for the operation that `read` makes of the arguments.
pub(crate) fn ask<T: Remote>(call: &Call<'_>, remote: &T, read: ReadOp) -> Answer {
    let op = read(call)?;
    let outcome = remote.ask(call, |client| client.ask(op))?;
    match outcome.0 {
        None => none(),
        Some(make) => one(call.lua(), make(call.lua())?),
    }
}
