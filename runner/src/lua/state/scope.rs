//! Scopes: who owns what a test makes, and what of it is open in a guest.
//!
//! Input: things as they are made, each as a [`Held`]. Output: their end, newest first, when the scope they
//! were made in is left, whatever the test came to. Not here: names and lookups; a lab has those.

use std::cell::RefCell;
use std::rc::{Rc, Weak};
use std::sync::Arc;

use provium_base::cancel::Cancel;
use provium_base::failure::GuestSplat;
use provium_guest::ConsoleMark;

/// A thing that must not outlive the scope it was made in.
pub(crate) trait Held {
    /// Begins to end the thing, without waiting. A scope calls this for all that it owns before it closes
    /// any, oldest first.
    fn begin_close(&self) {}

    /// Ends the thing; a further call does nothing.
    fn close(&self);

    /// For a VM: what its kernel has reported and its console has not shown. The VM may be asked.
    fn unseen_splats(&self, _cancel: &Arc<Cancel>) -> Vec<GuestSplat> {
        Vec::new()
    }

    /// The thing's connection to a guest or place in one, as long as it has that.
    fn opened(&self) -> Option<Opened> {
        None
    }

    /// The thing as a guest that may know why a test failed, if it is a VM that runs or died.
    fn witness(&self) -> Option<&dyn Witness> {
        None
    }
}

/// A VM, asked about a failure.
pub(crate) trait Witness {
    /// Name of the VM.
    fn vm(&self) -> String;

    /// The place that its console has come to.
    fn console_mark(&self) -> ConsoleMark;

    /// What its console has printed since a mark; without one, all that it has kept.
    fn console_after(&self, mark: Option<ConsoleMark>) -> Vec<u8>;

    /// Why it is dead, if it is.
    fn death(&self) -> Option<String>;

    /// The text with files and lines behind the places of its kernel that a trace names.
    fn annotated(&self, text: &str) -> String;

    /// Where its vCPUs stand, or stood when they were given up, in words: a line for each place.
    fn vcpu_places(&self) -> Vec<String>;

    /// The content of a file in it, if it answers soon; the error says why not.
    fn read_file(&self, path: &[u8]) -> Result<Vec<u8>, String>;

    /// Its kernel's log, if it answers soon; the error says why not.
    fn kernel_log(&self) -> Result<Vec<u8>, String>;
}

/// A VM that a scope asks.
#[derive(Clone, Copy)]
pub(crate) struct Asked<'a> {
    /// The VM.
    pub(crate) witness: &'a dyn Witness,
    /// Its number among all things that are open.
    pub(crate) id: usize,
    /// Whether it is the file's, and not the running test's.
    pub(crate) of_file: bool,
}

/// A connection to a VM or a place in one, which the test has not closed.
pub(crate) struct Opened {
    /// Sort of the thing.
    pub(crate) sort: OpenedSort,
    /// Name of the VM.
    pub(crate) vm: String,
    /// The thing in messages: "a stream (console)".
    pub(crate) what: String,
    /// `path:line` of the call that opened it.
    pub(crate) site: String,
}

/// Sorts of things that can be open in a VM.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OpenedSort {
    /// A stream: its other end is a connection, which no snapshot can hold.
    Stream,
    /// A worker: a connection as well.
    Worker,
    /// A file: a number in the agent.
    File,
    /// A program or a system call that is not known to have ended.
    Process,
}

impl OpenedSort {
    /// Whether it is a connection, which no snapshot can hold.
    pub(crate) fn is_connection(self) -> bool {
        matches!(self, OpenedSort::Stream | OpenedSort::Worker)
    }
}

/// A thing as a scope knows it.
enum Entry {
    /// A thing that the scope closes.
    Owned(Rc<dyn Held>),
    /// A thing that goes with its Lua value; the scope only asks whether it is open.
    Watched(Weak<dyn Held>),
}

impl Entry {
    fn held(&self) -> Option<Rc<dyn Held>> {
        match self {
            Entry::Owned(held) => Some(Rc::clone(held)),
            Entry::Watched(held) => held.upgrade(),
        }
    }
}

/// The scopes that are open: the file's, and above it the running test's.
#[derive(Default)]
pub(crate) struct Scopes {
    open: RefCell<Vec<Vec<Entry>>>,
}

impl Scopes {
    /// Opens a scope inside the current one.
    pub(crate) fn enter(&self) {
        self.open.borrow_mut().push(Vec::new());
    }

    /// Closes what the innermost scope owns, newest first, and the scope with it. What takes its time to end
    /// is told so before, all of it, so that a hundred take as long as one.
    pub(crate) fn leave(&self) {
        let scope = self.open.borrow_mut().pop().unwrap_or_default();
        let owned = scope.into_iter().filter_map(|entry| match entry {
            Entry::Owned(held) => Some(held),
            Entry::Watched(_) => None,
        });
        let owned: Vec<Rc<dyn Held>> = owned.collect();
        for held in &owned {
            held.begin_close();
        }
        for held in owned.into_iter().rev() {
            held.close();
        }
    }

    /// Gives the innermost scope a thing to close.
    pub(crate) fn own(&self, held: Rc<dyn Held>) {
        match self.open.borrow_mut().last_mut() {
            Some(scope) => scope.push(Entry::Owned(held)),
            // Every scope is left: the file is over, and so is what comes now.
            None => held.close(),
        }
    }

    /// Gives the file's own scope a thing to close, from wherever it is made.
    pub(crate) fn own_by_file(&self, held: Rc<dyn Held>) {
        match self.open.borrow_mut().first_mut() {
            Some(scope) => scope.push(Entry::Owned(held)),
            None => held.close(),
        }
    }

    /// Tells the innermost scope of a thing that goes with its Lua value.
    pub(crate) fn watch(&self, held: Weak<dyn Held>) {
        if let Some(scope) = self.open.borrow_mut().last_mut() {
            scope.push(Entry::Watched(held));
        }
    }

    /// Depth of the current scope: 1 is the file's, 2 a test's.
    pub(crate) fn depth(&self) -> usize {
        self.open.borrow().len()
    }

    /// Asks each VM that runs or died, oldest first.
    pub(crate) fn ask_witnesses(&self, mut ask: impl FnMut(Asked<'_>)) {
        let of_file = self
            .open
            .borrow()
            .first()
            .map_or(0, |file| file.iter().filter_map(Entry::held).count());
        for (at, held) in self.all().into_iter().enumerate() {
            if let Some(witness) = held.witness() {
                ask(Asked {
                    witness,
                    id: Rc::as_ptr(&held).addr(),
                    of_file: at < of_file,
                });
            }
        }
    }

    /// What kernels of the VMs have reported and consoles have not shown.
    pub(crate) fn unseen_splats(&self, cancel: &Arc<Cancel>) -> Vec<GuestSplat> {
        let held = self.all().into_iter();
        held.flat_map(|held| held.unseen_splats(cancel)).collect()
    }

    /// Things that are open in guests, oldest first.
    pub(crate) fn opened(&self) -> Vec<Opened> {
        let held = self.all().into_iter();
        held.filter_map(|held| held.opened()).collect()
    }

    /// Number of things of a sort that are open in the VM of this name.
    pub(crate) fn count_opened(&self, vm: &str, sort: OpenedSort) -> usize {
        let opened = self.opened().into_iter();
        opened
            .filter(|opened| opened.sort == sort && opened.vm == vm)
            .count()
    }

    fn all(&self) -> Vec<Rc<dyn Held>> {
        self.open
            .borrow()
            .iter()
            .flatten()
            .filter_map(Entry::held)
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Noted(&'static str, Rc<RefCell<Vec<&'static str>>>);

    impl Held for Noted {
        fn begin_close(&self) {
            self.1.borrow_mut().push("begun");
        }

        fn close(&self) {
            self.1.borrow_mut().push(self.0);
        }

        fn opened(&self) -> Option<Opened> {
            Some(Opened {
                sort: OpenedSort::File,
                vm: "a".to_owned(),
                what: self.0.to_owned(),
                site: String::new(),
            })
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

    #[test]
    fn what_is_watched_goes_with_its_value() {
        let closed = Rc::default();
        let scopes = Scopes::default();
        scopes.enter();
        let value: Rc<dyn Held> = Rc::new(Noted("watched", Rc::clone(&closed)));
        scopes.watch(Rc::downgrade(&value));
        assert_eq!(scopes.count_opened("a", OpenedSort::File), 1);
        assert_eq!(scopes.count_opened("b", OpenedSort::File), 0);
        assert_eq!(scopes.count_opened("a", OpenedSort::Stream), 0);
        drop(value);
        assert_eq!(scopes.opened().len(), 0);
        scopes.leave();
        assert!(closed.borrow().is_empty());
    }
}
