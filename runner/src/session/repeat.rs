//! How often the tests of a run are run: `--repeat`, `--until-fail`.
//!
//! Input: the flags. Output: whether there is another round. Not here: the rounds; whoever runs a file has
//! them.

use std::time::Duration;

/// How often tests are run. The default is once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Repeat {
    /// Number of rounds; `None` is without end.
    pub rounds: Option<u32>,
    /// Whether the first failure ends it.
    pub until_fail: bool,
}

impl Default for Repeat {
    fn default() -> Repeat {
        Repeat {
            rounds: Some(1),
            until_fail: false,
        }
    }
}

impl Repeat {
    /// Whether there is more than one round.
    pub fn is_active(&self) -> bool {
        self.rounds != Some(1)
    }

    /// Whether there is a round after so many, of which the last had a failure or had none.
    pub fn goes_on(&self, rounds: u32, failed: bool) -> bool {
        self.rounds.is_none_or(|all| rounds < all) && !(failed && self.until_fail)
    }

    /// The time limit of a file that has this limit for one round. Without an end it is one for all rounds.
    pub fn limit(&self, of_one: Option<Duration>) -> Option<Duration> {
        Some(of_one?.saturating_mul(self.rounds.unwrap_or(1)))
    }
}
