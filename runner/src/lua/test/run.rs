//! One run of one test: what it logged, what failed, whether it asked to be skipped.
//!
//! Input: failures and lines, as they come. Output: the same to `verdict`, there even when the body catches
//! the error. Not here: deciding what the test came to.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::{Arc, Weak};

use mlua::{Function, Lua, Table, Value};

use super::artifact::Artifact;
use super::parts::Parts;
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

/// How far a run is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Stage {
    /// The file's `before_each` run.
    #[default]
    Before,
    /// The body runs.
    Body,
    /// What is left for the end runs.
    After,
}

/// An expectation that is checked at the test's end.
pub(crate) struct ExpectedSplat {
    /// Its number.
    pub(crate) number: u64,
    /// Message of the failure if it is not met.
    pub(crate) message: String,
    /// Line of the call.
    pub(crate) line: Option<u32>,
}

/// A run of a test; one that is tried again has several.
pub(crate) struct TestRun {
    /// Name of the test.
    pub(crate) name: String,
    meta: Table,
    /// Lines that it logged and printed.
    pub(crate) log: RefCell<Vec<String>>,
    /// How far it is.
    pub(crate) stage: Cell<Stage>,
    /// Functions for the end of the test.
    pub(crate) deferred: RefCell<Vec<Function>>,
    /// Functions that hear of the test's failure.
    pub(crate) on_failure: RefCell<Vec<Function>>,
    /// Failed assertions, caught or not.
    pub(crate) failures: RefCell<Vec<Failure>>,
    /// The reason and the error raised, once it asked to be skipped.
    pub(crate) skip: RefCell<Option<(String, String)>>,
    /// Splats that it expects by its end.
    pub(crate) expected_splats: RefCell<Vec<ExpectedSplat>>,
    /// Parts that have results of their own.
    pub(crate) parts: Parts,
    /// What it wants kept if it fails.
    pub(crate) artifacts: RefCell<Vec<Artifact>>,
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
            stage: Cell::default(),
            deferred: RefCell::default(),
            on_failure: RefCell::default(),
            failures: RefCell::default(),
            skip: RefCell::default(),
            expected_splats: RefCell::default(),
            parts: Parts::default(),
            artifacts: RefCell::default(),
            life: RefCell::new(Some(Arc::default())),
        })
    }

    /// Ends the run: its `t` can do nothing more.
    pub(crate) fn end(&self) {
        self.deferred.take();
        self.on_failure.take();
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

    /// Whether it is known already what it comes to: something failed in it, or it asked to be skipped.
    pub(crate) fn is_decided(&self) -> bool {
        !self.failures.borrow().is_empty() || self.skip.borrow().is_some()
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
