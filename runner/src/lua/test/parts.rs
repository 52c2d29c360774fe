//! The parts of one run of a test, as they begin and end.
//!
//! Input: [`Subtest`]s. Output: the same as a tree, bounded in number. Not here: what a part is.

use std::cell::{Cell, RefCell};

use provium_base::subtest::Subtest;

/// Most parts of one run of a test, in all.
pub(super) const MOST: usize = 100_000;

/// The parts of a run, as they come.
#[derive(Default)]
pub(crate) struct Parts {
    /// Those of the run, then those of each part that is under way, the innermost last.
    ended: RefCell<Vec<Subtest>>,
    under_way: RefCell<Vec<Vec<Subtest>>>,
    count: Cell<usize>,
}

impl Parts {
    /// The parts so far.
    pub(crate) fn take(&self) -> Vec<Subtest> {
        self.ended.take()
    }

    /// Calls `look` with those that have ended.
    pub(crate) fn with<R>(&self, look: impl FnOnce(&[Subtest]) -> R) -> R {
        look(&self.ended.borrow())
    }

    /// How many parts are under way, each in the one before.
    pub(super) fn depth(&self) -> usize {
        self.under_way.borrow().len()
    }

    /// Adds a part to what is under way.
    pub(super) fn add(&self, part: Subtest) {
        match self.under_way.borrow_mut().last_mut() {
            Some(parts) => parts.push(part),
            None => self.ended.borrow_mut().push(part),
        }
    }

    /// Whether there is one of this name beside what comes next.
    pub(super) fn has(&self, name: &str) -> bool {
        let is = |part: &Subtest| part.name == name;
        match self.under_way.borrow().last() {
            Some(parts) => parts.iter().any(is),
            None => self.ended.borrow().iter().any(is),
        }
    }

    /// Begins a part inside of what is under way.
    pub(super) fn begin(&self) {
        self.under_way.borrow_mut().push(Vec::new());
    }

    /// Ends the innermost part; returns its own parts.
    pub(super) fn end(&self) -> Vec<Subtest> {
        self.under_way.borrow_mut().pop().unwrap_or_default()
    }

    /// Makes room for so many; says whether there is.
    pub(super) fn count(&self, more: usize) -> bool {
        let count = self.count.get().saturating_add(more);
        let there_is = count <= MOST;
        if there_is {
            self.count.set(count);
        }
        there_is
    }
}
