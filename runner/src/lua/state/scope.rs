//! Who owns what a test makes: a stack of scopes, each closed newest first.
//!
//! Enters: resources as they are made. Leaves: their end, when the scope they were made in is left, whatever the
//! test came to. Absent on purpose: names and lookups; a lab keeps those.

use std::cell::RefCell;
use std::rc::Rc;

/// Something that must not outlive its scope.
pub(crate) trait Resource {
    /// Begins to end it, without waiting; called once by the scope, for all that it owns before any is closed, oldest
    /// first.
    fn begin_close(&self) {}

    /// Ends it; called once by the scope, possibly after the test has done so itself.
    fn close(&self);

    /// For a VM that runs or died: its name and the last lines of its console.
    fn console_tail(&self) -> Option<(String, String)>;
}

/// The scopes that are open: the file's, and above it the running test's.
#[derive(Default)]
pub(crate) struct Scopes {
    open: RefCell<Vec<Vec<Rc<dyn Resource>>>>,
}

impl Scopes {
    /// Opens a scope inside the current one.
    pub(crate) fn enter(&self) {
        self.open.borrow_mut().push(Vec::new());
    }

    /// Closes what the innermost scope owns, newest first, and the scope with it. What takes its time to end is told so
    /// before, all of it, so that a hundred take as long as one.
    pub(crate) fn leave(&self) {
        let owned = self.open.borrow_mut().pop().unwrap_or_default();
        for resource in &owned {
            resource.begin_close();
        }
        for resource in owned.into_iter().rev() {
            resource.close();
        }
    }

    /// Gives the innermost scope something to close.
    pub(crate) fn own(&self, resource: Rc<dyn Resource>) {
        match self.open.borrow_mut().last_mut() {
            Some(scope) => scope.push(resource),
            // Every scope is left: the file is over, and so is what comes now.
            None => resource.close(),
        }
    }

    /// Gives the file's own scope something to close, from wherever it is made.
    pub(crate) fn own_by_file(&self, resource: Rc<dyn Resource>) {
        match self.open.borrow_mut().first_mut() {
            Some(scope) => scope.push(resource),
            None => resource.close(),
        }
    }

    /// How deep the current scope is: 1 is the file's, 2 a test's.
    pub(crate) fn depth(&self) -> usize {
        self.open.borrow().len()
    }

    /// The console of each VM that runs or died, oldest first.
    pub(crate) fn console_tails(&self) -> Vec<(String, String)> {
        self.open
            .borrow()
            .iter()
            .flatten()
            .filter_map(|resource| resource.console_tail())
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Noted(&'static str, Rc<RefCell<Vec<&'static str>>>);

    impl Resource for Noted {
        fn begin_close(&self) {
            self.1.borrow_mut().push("begun");
        }

        fn close(&self) {
            self.1.borrow_mut().push(self.0);
        }

        fn console_tail(&self) -> Option<(String, String)> {
            None
        }
    }

    #[test]
    fn a_scope_closes_its_own_newest_first() {
        let closed = Rc::default();
        let scopes = Scopes::default();
        let own = |name| scopes.own(Rc::new(Noted(name, Rc::clone(&closed))));
        scopes.enter();
        own("file");
        scopes.enter();
        own("first");
        own("second");
        assert_eq!(scopes.depth(), 2);
        scopes.leave();
        assert_eq!(*closed.borrow(), ["begun", "begun", "second", "first"]);
        scopes.leave();
        own("late");
        assert_eq!(closed.borrow()[4..], ["begun", "file", "late"]);
    }
}
