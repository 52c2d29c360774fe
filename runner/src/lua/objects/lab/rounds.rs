//! Rounds of barriers: who has come, and who is still to come.
//!
//! Input: names and numbers of callers. Output: a round that is open once the last has come. Not here:
//! waiting; `barrier` does that in Lua's own way.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;

/// The barriers of a lab that somebody waits at, by name.
#[derive(Default)]
pub(crate) struct Barriers(RefCell<BTreeMap<String, Rc<Round>>>);

/// One use of a barrier: it ends when all have come, and the next to come begins another.
pub(super) struct Round {
    /// Number of callers that are to come.
    pub(super) count: i64,
    /// Number of callers that have come.
    pub(super) arrived: Cell<i64>,
    /// Whether all have come.
    pub(super) open: Cell<bool>,
    /// Whether the test that began it is over, if a test did.
    test_over: Option<Rc<Cell<bool>>>,
}

impl Round {
    /// Whether the test that began it is over, so that nobody else comes.
    pub(super) fn is_over(&self) -> bool {
        self.test_over.as_ref().is_some_and(|over| over.get())
    }
}

impl Barriers {
    /// The round that waits under this name, or a new one; `test_over` says when the test is over that begins
    /// it.
    pub(super) fn round(&self, name: &str, count: i64, test_over: Option<Rc<Cell<bool>>>) -> Rc<Round> {
        let mut rounds = self.0.borrow_mut();
        rounds.retain(|_, round| !round.is_over());
        let round = rounds.entry(name.to_owned()).or_insert_with(|| {
            Rc::new(Round {
                count,
                arrived: Cell::new(0),
                open: Cell::new(false),
                test_over,
            })
        });
        Rc::clone(round)
    }

    /// Takes a caller that came away again, unless the round is complete; with the last goes the round.
    pub(super) fn leave(&self, name: &str, round: &Rc<Round>) {
        if round.open.get() {
            return;
        }
        round.arrived.set(round.arrived.get() - 1);
        if round.arrived.get() == 0 {
            self.forget(name, round);
        }
    }

    /// Ends a round, so that the next to come begins another.
    pub(super) fn forget(&self, name: &str, round: &Rc<Round>) {
        let mut rounds = self.0.borrow_mut();
        if rounds.get(name).is_some_and(|there| Rc::ptr_eq(there, round)) {
            rounds.remove(name);
        }
    }
}
