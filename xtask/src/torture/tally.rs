//! What a part's rounds came to.
//!
//! Input: what went wrong, in words. Output: counts, a row of the table, and a file from which a part that
//! was broken off goes on.

use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

/// Rounds, and those in which something went wrong.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Tally {
    /// Done so far.
    pub(super) rounds: u32,
    /// Whose run passed, in spite of all.
    pub(super) passed: u32,
    /// Results that are missing or wrong, and runs that failed for another reason than they should.
    lost: Vec<String>,
    /// Runs that did not end.
    hung: Vec<String>,
    /// Processes, files and memory that stayed.
    leaked: Vec<String>,
    #[serde(skip)]
    wanted: u32,
    #[serde(skip)]
    file: PathBuf,
    #[serde(skip)]
    begun: Option<Instant>,
}

impl Tally {
    /// The tally of a part that shall have so many rounds, some of which may have been done already.
    pub(super) fn begin(share: &Path, wanted: u32) -> Result<Tally> {
        let mut tally = match share.join(FILE).exists() {
            true => Tally::read(share)?,
            false => Tally::default(),
        };
        (tally.wanted, tally.file, tally.begun) = (wanted, share.join(FILE), Some(Instant::now()));
        Ok(tally)
    }

    /// What a part has written.
    pub(super) fn read(share: &Path) -> Result<Tally> {
        let file = share.join(FILE);
        let text = std::fs::read(&file).with_context(|| format!("read {}", file.display()))?;
        serde_json::from_slice(&text).with_context(|| format!("{} is no tally", file.display()))
    }

    pub(super) fn write(&self) -> Result<()> {
        let text = serde_json::to_vec_pretty(self)?;
        std::fs::write(&self.file, text).with_context(|| format!("write {}", self.file.display()))
    }

    /// Whether there is another round to do; its number, from 0.
    pub(super) fn next(&mut self) -> Result<Option<u32>> {
        const SAID: u32 = 10;
        let done = self.rounds >= self.wanted;
        if done || self.rounds.is_multiple_of(SAID) {
            self.write()?;
            let seconds = self.begun.map_or(0, |begun| begun.elapsed().as_secs());
            println!(
                "   {} of {}: {} passed, {} lost, {} hung, {} leaked; {seconds} s",
                self.rounds,
                self.wanted,
                self.passed,
                self.lost.len(),
                self.hung.len(),
                self.leaked.len()
            );
        }
        if done {
            return Ok(None);
        }
        self.rounds += 1;
        Ok(Some(self.rounds - 1))
    }

    pub(super) fn lost(&mut self, what: String) {
        println!("   LOST in round {}: {what}", self.rounds);
        self.lost.push(what);
    }

    pub(super) fn hung(&mut self, what: String) {
        println!("   HUNG in round {}: {what}", self.rounds);
        self.hung.push(what);
    }

    pub(super) fn leaked(&mut self, what: String) {
        println!("   LEAKED in round {}: {what}", self.rounds);
        self.leaked.push(what);
    }

    /// How much went wrong.
    pub(super) fn bad(&self) -> usize {
        self.lost.len() + self.hung.len() + self.leaked.len()
    }

    pub(super) fn row(&self, name: &str) -> String {
        let Tally { rounds, passed, .. } = self;
        let [lost, hung, leaked] = [&self.lost, &self.hung, &self.leaked].map(Vec::len);
        format!("{name:<10} {rounds:>7} {passed:>7} {lost:>7} {hung:>7} {leaked:>7}\n")
    }
}

const FILE: &str = "tally.json";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_that_was_broken_off_goes_on_and_forgets_nothing() {
        let share = tempfile::tempdir().unwrap();
        let mut tally = Tally::begin(share.path(), 12).unwrap();
        while let Some(round) = tally.next().unwrap() {
            if round == 3 {
                tally.leaked("a file".into());
            }
            if round == 10 {
                break;
            }
        }
        // The tenth round's end was the last to be written down.
        let mut again = Tally::begin(share.path(), 12).unwrap();
        assert_eq!(again.next().unwrap(), Some(10));
        assert_eq!(again.next().unwrap(), Some(11));
        assert_eq!(again.next().unwrap(), None);
        assert_eq!(again.bad(), 1);
        assert_eq!(
            again.row("kill"),
            "kill            12       0       0       0       1\n"
        );
    }
}
