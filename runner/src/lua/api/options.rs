//! Tables of options: each key asked for by name, every other key refused with the nearest that exists.
//!
//! Input: a table a test wrote. Output: typed values; [`Options::finish`] refuses what nobody asked for. Not
//! here: lists of valid keys kept beside the code that reads them.

use std::cell::RefCell;
use std::time::Duration;

use mlua::{Lua, Table, Value};
use provium_base::nearest::nearest;

use crate::lua::api::raise::Raise;
use crate::lua::api::value::{duration, integer, size, text_of, type_name};

/// A table of options of one call.
pub(crate) struct Options<'a> {
    what: &'a str,
    table: Table,
    asked: RefCell<Vec<&'static str>>,
}

impl<'a> Options<'a> {
    /// The options in `table`, given to the call `what`.
    pub(crate) fn new(_lua: &Lua, what: &'a str, table: Table) -> Result<Options<'a>, Raise> {
        Ok(Options {
            what,
            table,
            asked: RefCell::default(),
        })
    }

    /// No options.
    pub(crate) fn empty(lua: &Lua, what: &'a str) -> Options<'a> {
        let table = lua.create_table().expect("an empty table can be made");
        Options {
            what,
            table,
            asked: RefCell::default(),
        }
    }

    /// The options in a table that is itself an option.
    pub(crate) fn item(&self, table: Table) -> Options<'a> {
        Options {
            what: self.what,
            table,
            asked: RefCell::default(),
        }
    }

    /// A failure that names the call and the option.
    pub(crate) fn fail(&self, key: &str, message: impl std::fmt::Display) -> Raise {
        Raise::Text(format!("{}: option `{key}`: {message}", self.what))
    }

    /// The raw value; nil when absent.
    pub(crate) fn value(&self, key: &'static str) -> Result<Value, Raise> {
        self.asked.borrow_mut().push(key);
        Ok(self.table.raw_get(key)?)
    }

    /// A value read by `read`, its complaint put into this call's words.
    fn read<T>(
        &self,
        key: &'static str,
        read: impl Fn(&Value) -> Result<T, String>,
    ) -> Result<Option<T>, Raise> {
        match self.value(key)? {
            Value::Nil => Ok(None),
            value => read(&value).map(Some).map_err(|message| self.fail(key, message)),
        }
    }

    /// A string of any bytes.
    pub(crate) fn bytes(&self, key: &'static str) -> Result<Option<Vec<u8>>, Raise> {
        self.read(key, |value| match value {
            Value::String(string) => Ok(string.as_bytes().to_vec()),
            other => Err(format!("expected a string, got {}", type_name(other))),
        })
    }

    /// A string of UTF-8.
    pub(crate) fn text(&self, key: &'static str) -> Result<Option<String>, Raise> {
        self.read(key, |value| match value {
            Value::String(string) => string
                .to_str()
                .map(|text| text.to_owned())
                .map_err(|_| "expected UTF-8 text".to_owned()),
            other => Err(format!("expected a string, got {}", type_name(other))),
        })
    }

    /// A boolean.
    pub(crate) fn boolean(&self, key: &'static str) -> Result<Option<bool>, Raise> {
        self.read(key, |value| match value {
            Value::Boolean(value) => Ok(*value),
            other => Err(format!("expected true or false, got {}", type_name(other))),
        })
    }

    /// An integer.
    pub(crate) fn integer(&self, key: &'static str) -> Result<Option<i64>, Raise> {
        self.read(key, integer)
    }

    /// A duration.
    pub(crate) fn duration(&self, key: &'static str) -> Result<Option<Duration>, Raise> {
        self.read(key, duration)
    }

    /// A size in bytes.
    pub(crate) fn size(&self, key: &'static str) -> Result<Option<u64>, Raise> {
        self.read(key, size)
    }

    /// A table.
    pub(crate) fn table(&self, key: &'static str) -> Result<Option<Table>, Raise> {
        self.read(key, |value| match value {
            Value::Table(table) => Ok(table.clone()),
            other => Err(format!("expected a table, got {}", type_name(other))),
        })
    }

    /// Whether the table has items at 1, 2, … beside its keys.
    pub(crate) fn has_items(&self) -> bool {
        self.table.raw_len() > 0
    }

    /// Refuses every key that was not asked for.
    pub(crate) fn finish(self) -> Result<(), Raise> {
        self.unknown().map_or(Ok(()), Err)
    }

    /// The refusal of a key that has not been asked for, if there is one.
    pub(crate) fn unknown(&self) -> Option<Raise> {
        let asked = self.asked.borrow();
        let unknown = self
            .table
            .pairs::<Value, Value>()
            .filter_map(|pair| pair.ok())
            .find_map(|(key, _)| match &key {
                Value::String(text) if asked.iter().any(|known| text.as_bytes() == known.as_bytes()) => None,
                key => Some(text_of(key)),
            });
        let unknown = unknown?;
        let mut known = asked.clone();
        known.sort_unstable();
        known.dedup();
        let hint = match nearest(&unknown, known.iter().copied()) {
            Some(near) => format!("did you mean `{near}`?"),
            None if known.is_empty() => "it takes none".to_owned(),
            None => format!("it takes {}", known.join(", ")),
        };
        Some(Raise::Text(format!(
            "{}: unknown option `{unknown}`; {hint}",
            self.what
        )))
    }
}

/// The items of an array, all of them; `None` when the table has other keys or gaps.
pub(crate) fn array(table: &Table) -> Option<Vec<Value>> {
    let length = table.raw_len();
    let keys = table.pairs::<Value, Value>().filter_map(|pair| pair.ok()).count();
    if keys != length {
        return None;
    }
    (1..=length).map(|at| table.raw_get(at).ok()).collect()
}
