//! `batch`: several requests in one round trip.
//!
//! Input: a function that asks its argument for things. Output: an answer for each, once the function has
//! returned. Nothing goes out before that, and what one request comes to can be no argument of another. Not
//! here: calls whose answer is a thing that lives on, such as an open file.

use std::cell::RefCell;
use std::rc::Rc;

use mlua::{IntoLua, Lua, MultiValue, Value};

use crate::guest::{BatchAnswer, BatchOp};
use crate::lua::api::binding::{Kind, Method};
use crate::lua::api::call::Call;
use crate::lua::api::protect::pcall;
use crate::lua::api::raise::{Answer, Raise, none, one};
use crate::lua::objects::files;
use crate::lua::objects::process::command::command;
use crate::lua::objects::process::run_result::RunResult;
use crate::lua::objects::remote::Remote;
use crate::lua::objects::syscall::arguments;

/// The argument of a batch's function, which records what is asked of it. `None` once the batch was sent.
#[derive(Clone)]
pub(crate) struct Batch(Rc<RefCell<Option<Vec<Asked>>>>);

/// A request of a batch.
struct Asked {
    op: BatchOp,
    /// The command of a `run`.
    command: String,
}

impl Batch {
    fn record(&self, call: &Call<'_>, op: BatchOp, command: String) -> Answer {
        match &mut *self.0.borrow_mut() {
            Some(asked) => asked.push(Asked { op, command }),
            None => return Err(call.fail("this batch has been sent; `b` is of use inside its function only")),
        }
        none()
    }
}

/// Records what `read` makes of the arguments.
fn op(call: &Call<'_>, batch: &Batch, read: fn(&Call<'_>) -> Result<BatchOp, Raise>) -> Answer {
    let op = read(call)?;
    batch.record(call, op, String::new())
}

impl Kind for Batch {
    const NAME: &'static str = "Batch";
    const PREFIX: &'static str = "b";

    fn methods() -> Vec<Method<Batch>> {
        vec![
            Method {
                name: "run",
                signature: "(cmd: string|string[], opts?: table)",
                doc: "Records a `run`.",
                run: |call, batch| {
                    let command = command(call)?;
                    batch.record(call, BatchOp::Run(command.spec), command.shown)
                },
            },
            Method {
                name: "read_file",
                signature: "(path: string)",
                doc: "Records a `read_file`.",
                run: |call, batch| op(call, batch, files::read_op),
            },
            Method {
                name: "write_file",
                signature: "(path: string, data: string)",
                doc: "Records a `write_file`.",
                run: |call, batch| op(call, batch, files::write_op),
            },
            Method {
                name: "stat",
                signature: "(path: string, opts?: {follow: boolean})",
                doc: "Records a `stat`.",
                run: |call, batch| op(call, batch, files::stat_op),
            },
            Method {
                name: "listdir",
                signature: "(path: string)",
                doc: "Records a `listdir`.",
                run: |call, batch| op(call, batch, files::listdir_op),
            },
            Method {
                name: "mkdir",
                signature: "(path: string, opts?: {parents: boolean, perm: integer})",
                doc: "Records a `mkdir`.",
                run: |call, batch| op(call, batch, files::mkdir_op),
            },
            Method {
                name: "unlink",
                signature: "(path: string)",
                doc: "Records an `unlink`.",
                run: |call, batch| op(call, batch, files::unlink_op),
            },
            Method {
                name: "rename",
                signature: "(from: string, to: string)",
                doc: "Records a `rename`.",
                run: |call, batch| op(call, batch, files::rename_op),
            },
            Method {
                name: "syscall",
                signature: "(nr: integer, ...: integer|table)",
                doc: "Records a `syscall`.",
                run: |call, batch| {
                    op(call, batch, |call| {
                        arguments::arguments(call).map(BatchOp::Syscall)
                    })
                },
            },
        ]
    }

    fn missing(call: &mut Call<'_>, _batch: &Batch, key: &str) -> Answer {
        let names: Vec<_> = Batch::methods().iter().map(|method| method.name).collect();
        Err(Raise::text(format!(
            "{} has no `{key}`; what can be done in a batch is {}",
            call.what(),
            names.join(", ")
        )))
    }

    fn describe(&self) -> String {
        "Batch".to_owned()
    }

    fn same(&self, other: &Batch) -> bool {
        Rc::ptr_eq(&self.0, &other.0)
    }
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
    let (ops, commands): (Vec<_>, Vec<_>) = asked.into_iter().map(|asked| (asked.op, asked.command)).unzip();
    let answers = remote.ask(call, |client| client.batch(&ops))?;
    let lua = call.lua();
    let list = lua.create_table_with_capacity(answers.len(), 0)?;
    for (answer, command) in answers.into_iter().zip(commands) {
        let entry = lua.create_table()?;
        match answer {
            Ok(answer) => entry.raw_set("ok", value(lua, answer, command)?)?,
            Err(error) => entry.raw_set("err", error.to_string())?,
        }
        list.raw_push(entry)?;
    }
    one(lua, list)
}

/// The result that the call by itself would have; true where it has none.
fn value(lua: &Lua, answer: BatchAnswer, command: String) -> mlua::Result<Value> {
    match answer {
        BatchAnswer::Ran(outcome) => RunResult::new(lua, command, &outcome)?
            .into_userdata(lua)?
            .into_lua(lua),
        BatchAnswer::Content(content) => lua.create_string(content)?.into_lua(lua),
        BatchAnswer::Written(bytes) => i64::try_from(bytes).unwrap_or(i64::MAX).into_lua(lua),
        BatchAnswer::Stat(stat) => files::stat_table(lua, &stat)?.into_lua(lua),
        BatchAnswer::Entries(entries) => files::entries(lua, &entries)?.into_lua(lua),
        BatchAnswer::Done => Ok(Value::Boolean(true)),
        BatchAnswer::Syscall(ret, bufs) => arguments::table(lua, ret, &bufs)?.into_lua(lua),
    }
}
