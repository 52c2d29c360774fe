//! `batch`: several requests in one round trip.
//!
//! Input: a function that asks its argument for things. Output: an answer for each, once the function has
//! returned. Nothing goes out before that, and what one request comes to can be no argument of another. Not
//! here: which operations a batch has; `tables` lists them.

use std::cell::RefCell;
use std::rc::Rc;

use mlua::{MultiValue, Value};

use crate::lua::api::binding::Kind;
use crate::lua::api::call::Call;
use crate::lua::api::protect::pcall;
use crate::lua::api::raise::{Answer, Raise, none, one};
use crate::lua::objects::operation::{LuaOp, ReadOp};
use crate::lua::objects::remote::Remote;

/// The argument of a batch's function, which records what is asked of it. `None` once the batch was sent.
#[derive(Clone)]
pub(crate) struct Batch(Rc<RefCell<Option<Vec<LuaOp>>>>);

impl Batch {
    /// Whether both are the same batch.
    pub(crate) fn is(&self, other: &Batch) -> bool {
        Rc::ptr_eq(&self.0, &other.0)
    }
}

/// Records the operation that `read` makes of the arguments.
pub(crate) fn record(call: &Call<'_>, batch: &Batch, read: ReadOp) -> Answer {
    let op = read(call)?;
    match &mut *batch.0.borrow_mut() {
        Some(asked) => asked.push(op),
        None => return Err(call.fail("this batch has been sent; `b` is of use inside its function only")),
    }
    none()
}

/// `batch(fn)`.
pub(crate) fn batch<T: Remote>(call: &mut Call<'_>, remote: &T) -> Answer {
    call.at_most(1)?;
    let function = call.function(0, "a function that takes the batch")?;
    let batch = Batch(Rc::new(RefCell::new(Some(Vec::new()))));
    let argument = batch.clone().into_userdata(call.lua())?;
    let mut result: MultiValue = pcall(call.lua())?.call((function, argument))?;
    let asked = batch.0.take().unwrap_or_default();
    match result.pop_front() {
        Some(Value::Boolean(true)) => {}
        _ => return Err(Raise::Value(result.pop_front().unwrap_or(Value::Nil))),
    }
    let answers = remote.ask(call, |client| client.batch(asked))?;
    let lua = call.lua();
    let list = lua.create_table_with_capacity(answers.len(), 0)?;
    for answer in answers {
        let entry = lua.create_table()?;
        match answer {
            Ok(outcome) => entry.raw_set("ok", outcome.in_batch(lua)?)?,
            Err(error) => entry.raw_set("err", error.to_string())?,
        }
        list.raw_push(entry)?;
    }
    one(lua, list)
}
