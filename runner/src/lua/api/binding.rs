//! How Rust types become Lua userdata: from tables of methods and fields that also say what each is for.
//!
//! Input: a [`Kind`], the methods, fields and setters of one userdata. Output: Lua values whose errors are
//! plain strings that begin with the position of the test's own line. The tables carry signature and
//! description, so that editor stubs and the check of the reference read the very thing that is registered.
//! Not here: mlua's own method registration, whose errors are userdata that a test cannot search with
//! `err:find`.

use mlua::{AnyUserData, Function, Lua, MultiValue, UserData, UserDataFields, Value};
use provium_base::nearest::nearest;

use super::call::Call;
use super::condition;
use super::prelude::prelude;
use super::raise::{Answer, Raise, none, one};
use super::value::type_name;
use super::{interrupt, location};

/// A method of a kind.
pub(crate) struct Method<T> {
    /// Name in Lua.
    pub(crate) name: &'static str,
    /// Parameters and result in LuaLS's notation: `(path: string): string`.
    pub(crate) signature: &'static str,
    /// Description in one sentence.
    pub(crate) doc: &'static str,
    /// Function that a call runs.
    pub(crate) run: fn(&mut Call<'_>, &T) -> Answer,
}

/// A field of a kind that can be read.
pub(crate) struct Field<T> {
    /// Name in Lua.
    pub(crate) name: &'static str,
    /// Type in LuaLS's notation.
    pub(crate) ty: &'static str,
    /// Description in one sentence.
    pub(crate) doc: &'static str,
    /// Function that reads its value.
    pub(crate) get: fn(&Lua, &T) -> mlua::Result<Value>,
}

/// A metamethod of a kind besides those that every kind has, or in place of one of them.
pub(crate) struct Metamethod {
    /// Name in Lua: `__len`.
    pub(crate) name: &'static str,
    /// Function that it runs; the operands are its arguments.
    pub(crate) run: fn(&mut Call<'_>) -> Answer,
}

/// A kind that is in the list of `kinds`. A userdata of a test of this crate implements it by itself.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is missing from the list of kinds in runner/src/lua/kinds.rs",
    note = "the list is what editor stubs and the check of the reference are made from"
)]
pub(crate) trait Listed {}

/// A type of userdata. The Rust value is a handle: cheap to clone, with its state shared behind it.
pub(crate) trait Kind: Listed + Clone + 'static {
    /// Name of the type in messages and editor stubs: `VM`.
    const NAME: &'static str;
    /// Name before the colon in messages: `vm` for `vm:run`.
    const PREFIX: &'static str;
    /// Type, in LuaLS's notation, of what a key finds that is neither method nor field, if it can find
    /// something.
    const OTHERS: Option<&'static str> = None;
    /// For a result, which Lua takes for true whatever it says: what to write as a condition in its place.
    const CONDITION: Option<&'static str> = None;

    /// Methods of the kind.
    fn methods() -> Vec<Method<Self>>;

    /// Fields of the kind.
    fn fields() -> Vec<Field<Self>> {
        Vec::new()
    }

    /// Metamethods of the kind beside those that all have.
    fn metamethods() -> Vec<Metamethod> {
        Vec::new()
    }

    /// A key that is neither method nor field.
    fn missing(call: &mut Call<'_>, _this: &Self, key: &str) -> Answer {
        let (methods, fields) = (Self::methods(), Self::fields());
        let names = methods
            .iter()
            .map(|m| m.name)
            .chain(fields.iter().map(|f| f.name));
        let hint = nearest(key, names)
            .map(|near| format!("; did you mean `{near}`?"))
            .unwrap_or_default();
        Err(Raise::text(format!("{} has no `{key}`{hint}", call.what())))
    }

    /// An assignment to a key.
    fn assign(call: &mut Call<'_>, _this: &Self, key: &str, _value: Value) -> Answer {
        Err(Raise::text(format!(
            "{} has no field `{key}` that can be set",
            call.what()
        )))
    }

    /// Text that `tostring` returns.
    fn describe(&self) -> String;

    /// Whether two handles mean the same thing.
    fn same(&self, other: &Self) -> bool;

    /// Makes the Lua value.
    fn into_userdata(self, lua: &Lua) -> mlua::Result<AnyUserData> {
        lua.create_userdata(Object(self))
    }
}

/// Content of the Lua userdata.
pub(crate) struct Object<T: Kind>(T);

impl<T: Kind> UserData for Object<T> {
    fn add_fields<F: UserDataFields<Self>>(fields: &mut F) {
        fields.add_meta_field("__name", T::NAME);
        fields.add_meta_field(condition::HANDLE, T::PREFIX);
        if let Some(instead) = T::CONDITION {
            fields.add_meta_field(condition::RESULT, instead);
        }
        fields.add_meta_field_with("__index", index::<T>);
        fields.add_meta_field_with("__newindex", |lua| {
            on_key::<T>(lua, |call, this, key| {
                let value = call.take(1);
                T::assign(call, this, key, value)
            })
        });
        fields.add_meta_field_with("__tostring", |lua| {
            function(lua, "tostring", |call| {
                let text = match this::<T>(&call.take(0)) {
                    Some(this) => this.describe(),
                    None => T::NAME.to_owned(),
                };
                one(call.lua(), text)
            })
        });
        fields.add_meta_field_with("__eq", |lua| {
            function(lua, "==", |call| {
                let (a, b) = (this::<T>(&call.take(0)), this::<T>(&call.take(1)));
                one(call.lua(), matches!((a, b), (Some(a), Some(b)) if a.same(&b)))
            })
        });
        for meta in T::metamethods() {
            fields.add_meta_field_with(meta.name, move |lua| function(lua, meta.name, meta.run));
        }
    }
}

/// The handle inside a Lua value, if it is of this kind.
pub(crate) fn this<T: Kind>(value: &Value) -> Option<T> {
    match value {
        Value::UserData(userdata) => Some(userdata.borrow::<Object<T>>().ok()?.0.clone()),
        _ => None,
    }
}

/// A Lua function that runs `body` and raises what it fails with at the line of its caller.
pub(crate) fn function(
    lua: &Lua,
    what: impl Into<String>,
    body: impl Fn(&mut Call<'_>) -> Answer + 'static,
) -> mlua::Result<Function> {
    let what = what.into();
    let raw = lua.create_function(move |lua, args: MultiValue| {
        interrupt::note_call(lua);
        let mut call = Call::new(lua, what.clone(), args);
        match body(&mut call) {
            Ok(mut values) => {
                values.push_front(Value::Boolean(true));
                Ok(values)
            }
            Err(Raise::Wait(look)) => Ok(MultiValue::from_vec(vec![Value::Nil, Value::Function(look)])),
            Err(raise) => Ok(MultiValue::from_vec(vec![
                Value::Boolean(false),
                raised(lua, &what, raise)?,
            ])),
        }
    })?;
    prelude(lua)?.get::<Function>("wrap")?.call(raw)
}

/// `body` as a function that knows an object and is called with a dot, or with a colon on that object or
/// another.
pub(crate) fn bound<T: Kind>(
    lua: &Lua,
    what: &'static str,
    object: &T,
    body: fn(&mut Call<'_>, &T) -> Answer,
) -> mlua::Result<Value> {
    let object = object.clone();
    let bound = function(lua, what, move |call| match this::<T>(call.arg(0)) {
        Some(given) => {
            call.take_self();
            body(call, &given)
        }
        None => body(call, &object),
    })?;
    Ok(Value::Function(bound))
}

/// The Lua value that is raised. Once the test is being ended, every failed call says so and nothing else:
/// what failed, failed because its machine was taken away.
fn raised(lua: &Lua, what: &str, raise: Raise) -> mlua::Result<Value> {
    let message = match (interrupt::ending(lua, what), raise) {
        (Some(reason), _) => reason,
        (None, Raise::Value(value)) => return Ok(value),
        (None, Raise::Text(text)) => text,
        // Waits are told apart before this.
        (None, Raise::Wait(_)) => what.to_owned(),
    };
    Ok(Value::String(
        lua.create_string(format!("{}{message}", location::prefix(lua)))?,
    ))
}

/// The `__index` of a kind: methods first, then fields, then [`Kind::missing`].
fn index<T: Kind>(lua: &Lua) -> mlua::Result<Function> {
    let (methods, fields) = (lua.create_table()?, lua.create_table()?);
    for method in T::methods() {
        let what = format!("{}:{}", T::PREFIX, method.name);
        methods.set(
            method.name,
            function(lua, what, move |call| with_this(call, method.run))?,
        )?;
    }
    for field in T::fields() {
        let get = move |call: &mut Call<'_>| match this::<T>(&call.take(0)) {
            Some(this) => Ok(MultiValue::from_vec(vec![(field.get)(call.lua(), &this)?])),
            None => none(),
        };
        fields.set(
            field.name,
            function(lua, format!("{}.{}", T::PREFIX, field.name), get)?,
        )?;
    }
    let missing = on_key::<T>(lua, T::missing)?;
    prelude(lua)?
        .get::<Function>("index")?
        .call((methods, fields, missing))
}

/// Runs a method on the handle in the first argument.
fn with_this<T: Kind>(call: &mut Call<'_>, run: fn(&mut Call<'_>, &T) -> Answer) -> Answer {
    let first = call.take_self();
    match this::<T>(&first) {
        Some(this) => run(call, &this),
        None => {
            let what = call.what().to_owned();
            Err(call.fail(format!(
                "expected a {} before the colon, got {} (call it as `{what}(…)`)",
                T::NAME,
                type_name(&first)
            )))
        }
    }
}

/// A metamethod that gets `(self, key, …)`.
fn on_key<T: Kind>(lua: &Lua, body: fn(&mut Call<'_>, &T, &str) -> Answer) -> mlua::Result<Function> {
    function(lua, T::NAME, move |call| {
        let (first, key) = (call.take_self(), call.take(0));
        match (this::<T>(&first), &key) {
            (Some(this), Value::String(key)) => body(call, &this, &key.to_string_lossy()),
            (Some(this), other) => body(call, &this, &format!("[{}]", type_name(other))),
            (None, _) => none(),
        }
    })
}
