//! One run of one test: what it logged, what failed, whether it asked to be skipped.
//!
//! Input: failures and lines, as they come. Output: the same to `verdict`, there even when the body catches
//! the error. Not here: deciding what the test came to.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::{Arc, Weak};

use mlua::{Lua, Table, Value};

use crate::lua::api::location::{self, Place};
use crate::lua::api::raise::Raise;

/// A failed assertion.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Failure {
    /// Message: what was expected and what came.
    pub(crate) message: String,
    /// The error as it was raised: the message with its position.
    pub(crate) raised: String,
    /// Line of the test file.
    pub(crate) line: Option<u32>,
    /// The place in another file, if it was one that failed.
    pub(crate) helper: Option<Place>,
}

/// A run of a test; one that is tried again has several.
pub(crate) struct TestRun {
    /// Name of the test.
    pub(crate) name: String,
    meta: Table,
    /// Lines that it logged and printed.
    pub(crate) log: RefCell<Vec<String>>,
    /// Failed assertions, caught or not.
    pub(crate) failures: RefCell<Vec<Failure>>,
    /// The reason and the error raised, once it asked to be skipped.
    pub(crate) skip: RefCell<Option<(String, String)>>,
    /// There until the run is over.
    life: RefCell<Option<Arc<()>>>,
}

impl TestRun {
    /// A run that has not begun, of the test of this name and metadata.
    pub(crate) fn new(name: String, meta: Table) -> Rc<TestRun> {
        Rc::new(TestRun {
            name,
            meta,
            log: RefCell::default(),
            failures: RefCell::default(),
            skip: RefCell::default(),
            life: RefCell::new(Some(Arc::default())),
        })
    }

    /// Ends the run: its `t` can do nothing more.
    pub(crate) fn end(&self) {
        self.life.take();
    }

    /// Whether the run is over.
    pub(crate) fn has_ended(&self) -> bool {
        self.life.borrow().is_none()
    }

    /// A token that is gone when the run is over, for those who outlive it.
    pub(crate) fn life(&self) -> Weak<()> {
        self.life
            .borrow()
            .as_ref()
            .map(Arc::downgrade)
            .unwrap_or_default()
    }

    /// The test's metadata, as the test wrote it.
    pub(crate) fn meta(&self) -> &Table {
        &self.meta
    }

    /// Records a failure and returns the error that reports it.
    pub(crate) fn fail(&self, lua: &Lua, message: String) -> Raise {
        let raised = format!("{}{message}", location::prefix(lua));
        let error = lua.create_string(&raised).map(Value::String);
        self.failures.borrow_mut().push(Failure {
            message,
            raised,
            line: location::in_test_file(lua),
            helper: location::in_helper(lua),
        });
        error.map_or_else(Raise::from, Raise::Value)
    }

    /// Records a wish to be skipped and returns the error that ends the body.
    pub(crate) fn skip(&self, lua: &Lua, reason: String) -> Raise {
        let raised = format!("{}skipped: {reason}", location::prefix(lua));
        let error = lua.create_string(&raised).map(Value::String);
        self.skip.borrow_mut().get_or_insert((reason, raised));
        error.map_or_else(Raise::from, Raise::Value)
    }
}
