//! The script that a Lua state runs: what its chunk is called, and what ends it from outside.
//!
//! Input: names, tokens and time limits, from whoever runs it. Output: the same to the rest of this floor, by
//! [`Script::of`]. Not here: what the script is for.

use std::cell::{Cell, RefCell};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use mlua::Lua;
use parking_lot::Mutex;
use provium_base::cancel::Cancel;

/// Reason for which running code was ended from outside, noted when it noticed.
#[derive(Debug, Clone)]
pub(crate) struct Ending {
    /// The text to report.
    pub(crate) message: String,
    /// Line of the script's own chunk that ran at that moment.
    pub(crate) line: Option<u32>,
}

/// A script of a Lua state.
pub(crate) struct Script {
    chunk_name: String,
    project: PathBuf,
    whole: Arc<Cancel>,
    whole_limit: Option<Duration>,
    /// Token and time limit of each part that is under way, the innermost last.
    parts: RefCell<Vec<(Arc<Cancel>, Option<Duration>)>>,
    splat: Arc<Mutex<Option<String>>>,
    ending: RefCell<Option<Ending>>,
    at_line: Box<dyn Fn(u32)>,
    calls: Cell<u32>,
}

impl Script {
    /// The script that messages name `shown`; paths of other chunks are shown relative to `project`. `cancel`
    /// ends it, and `limit` is its time limit as messages say it. `at_line` hears now and then which line of
    /// it runs.
    pub(crate) fn new(
        shown: &str,
        project: &Path,
        cancel: &Arc<Cancel>,
        limit: Option<Duration>,
        at_line: Box<dyn Fn(u32)>,
    ) -> Rc<Script> {
        Rc::new(Script {
            chunk_name: format!("@{shown}"),
            project: project.to_owned(),
            whole: Arc::clone(cancel),
            whole_limit: limit,
            parts: RefCell::default(),
            splat: Arc::default(),
            ending: RefCell::default(),
            at_line,
            calls: Cell::default(),
        })
    }

    /// The script of this Lua state.
    pub(crate) fn of(lua: &Lua) -> Rc<Script> {
        let script = lua
            .app_data_ref::<Rc<Script>>()
            .expect("every Lua state is made for a script");
        Rc::clone(&script)
    }

    /// Lua's name for its chunk.
    pub(crate) fn chunk_name(&self) -> &str {
        &self.chunk_name
    }

    /// The project's folder.
    pub(crate) fn project(&self) -> &Path {
        &self.project
    }

    /// The token that ends what runs now: the part's, else the whole script's.
    pub(crate) fn cancel(&self) -> Arc<Cancel> {
        let parts = self.parts.borrow();
        Arc::clone(parts.last().map_or(&self.whole, |(token, _)| token))
    }

    /// Time limit of the whole script.
    pub(crate) fn whole_limit(&self) -> Option<Duration> {
        self.whole_limit
    }

    /// Time limit of the part that runs now.
    pub(crate) fn part_limit(&self) -> Option<Duration> {
        self.parts.borrow().last().and_then(|(_, limit)| *limit)
    }

    /// What the part is told that a splat of a guest's kernel has ended.
    pub(crate) fn splat(&self) -> &Arc<Mutex<Option<String>>> {
        &self.splat
    }

    /// Begins a part inside the current one, with a token and a time limit of its own; returns the token.
    pub(crate) fn begin_part(&self, limit: Option<Duration>) -> Arc<Cancel> {
        let token = self.whole.child();
        self.parts.borrow_mut().push((Arc::clone(&token), limit));
        self.calls.set(0);
        token
    }

    /// Begins a part inside the current one whose token is not cancelled with the script's.
    pub(crate) fn begin_detached(&self, token: &Arc<Cancel>, limit: Option<Duration>) {
        self.parts.borrow_mut().push((Arc::clone(token), limit));
    }

    /// Ends the innermost part; returns why it was ended from outside, if it was.
    pub(crate) fn end_part(&self) -> Option<Ending> {
        self.parts.borrow_mut().pop();
        self.ending.take()
    }

    /// Leaves the innermost part; an ending stays noted.
    pub(crate) fn leave_part(&self) {
        self.parts.borrow_mut().pop();
    }

    /// Notes the first ending and returns its message.
    pub(crate) fn note_ending(&self, describe: impl FnOnce() -> (String, Option<u32>)) -> String {
        if let Some(ending) = &*self.ending.borrow() {
            return ending.message.clone();
        }
        let (message, line) = describe();
        *self.ending.borrow_mut() = Some(Ending {
            message: message.clone(),
            line,
        });
        message
    }

    /// Counts a call of the API; returns how many there were in the part that runs now.
    pub(crate) fn count_call(&self) -> u32 {
        let calls = self.calls.get().saturating_add(1);
        self.calls.set(calls);
        calls
    }

    /// Tells which line of it runs now.
    pub(crate) fn at_line(&self, line: Option<u32>) {
        if let Some(line) = line {
            (self.at_line)(line);
        }
    }

    /// Whether an ending was noted.
    pub(crate) fn has_ending(&self) -> bool {
        self.ending.borrow().is_some()
    }

    /// Takes the ending that was noted.
    pub(crate) fn take_ending(&self) -> Option<Ending> {
        self.ending.take()
    }
}
