//! Rounds of a file's tests: what is put back between them, and how often each test failed.
//!
//! Input: results, round by round. Output: whether VMs are put back before the next run of a test; words
//! before the message of a test that failed. Not here: running them.

use std::cell::Cell;
use std::collections::HashMap;

use provium_base::outcome::{Rounds, TestResult};

/// A function that resets the file's VMs to what they were when its own code had run; the error says why it
/// cannot.
pub(crate) type PutBack = dyn Fn() -> Result<(), String>;

/// Whether the file's VMs are put back before a run of a test.
pub(crate) struct PutBackBefore<'a> {
    put_back: Cell<Option<&'a PutBack>>,
    every: bool,
}

impl<'a> PutBackBefore<'a> {
    /// Before every run.
    pub(crate) fn every(put_back: Option<&'a PutBack>) -> Self {
        PutBackBefore {
            put_back: Cell::new(put_back),
            every: true,
        }
    }

    /// Before the next run alone.
    pub(crate) fn once(put_back: Option<&'a PutBack>) -> Self {
        PutBackBefore {
            put_back: Cell::new(put_back),
            every: false,
        }
    }

    /// What is done before the run that comes now.
    pub(super) fn next(&self) -> Option<&'a PutBack> {
        match self.every {
            true => self.put_back.get(),
            false => self.put_back.take(),
        }
    }
}

/// What became of each test in all rounds.
#[derive(Default)]
pub(super) struct Tallies(HashMap<String, Tally>);

/// What became of a test in all rounds.
#[derive(Default)]
struct Tally {
    rounds: u32,
    failures: u32,
    /// The round of the first failure.
    first: u32,
}

impl Tallies {
    /// Adds a round's result; says whether it counts against the run.
    pub(super) fn add(&mut self, result: &TestResult, round: u32) -> bool {
        let tally = self.0.entry(result.name.clone()).or_default();
        let failed = result.status.counts_against_the_run();
        tally.rounds += 1;
        tally.failures += u32::from(failed);
        if failed && tally.failures == 1 {
            tally.first = round;
        }
        failed
    }

    /// Whether the test has failed in a round.
    pub(super) fn has_failed(&self, test: &str) -> bool {
        self.0.get(test).is_some_and(|tally| tally.failures > 0)
    }

    /// Puts into the result how often the test ran and failed, and before the message of a failure.
    pub(super) fn say_in(&self, result: &mut TestResult) {
        let Some(tally) = self.0.get(&result.name) else {
            return;
        };
        result.rounds = Some(Rounds {
            run: tally.rounds,
            failed: tally.failures,
        });
        if tally.failures == 0 {
            return;
        }
        let said = format!(
            "failed in {} of {} rounds, first in round {}: ",
            tally.failures, tally.rounds, tally.first
        );
        if let Some(message) = &mut result.message {
            message.insert_str(0, &said);
        }
        if let Some(failure) = &mut result.failure {
            failure.message.insert_str(0, &said);
        }
    }
}
