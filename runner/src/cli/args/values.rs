//! Numbers of the command line that are read in a way of their own.
//!
//! Input: a flag's value as text. Output: the number, or what is wrong with it. Not here: sizes and
//! durations, which `provium_base::units` reads.

use std::str::FromStr;

/// A factor from 0.5 to 8.
pub(super) fn overcommit(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(factor) if (0.5..=8.0).contains(&factor) => Ok(factor),
        Ok(_) => Err("must be from 0.5 to 8".to_owned()),
        Err(_) => Err("not a number".to_owned()),
    }
}

/// A whole number from 1.
pub(super) fn at_least_one(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(0) => Err("must be at least 1".to_owned()),
        Ok(count) => Ok(count),
        Err(_) => Err("not a whole number".to_owned()),
    }
}

/// What decides a shuffled order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Seed {
    /// Another each time.
    Any,
    /// This.
    Given(u64),
}

impl FromStr for Seed {
    type Err = String;

    fn from_str(text: &str) -> Result<Seed, String> {
        match text {
            "" => Ok(Seed::Any),
            text => text
                .parse()
                .map(Seed::Given)
                .map_err(|_| "not a whole number".to_owned()),
        }
    }
}
