//! What became of each KVM test, on disk, so that nothing is lost when an emulated host freezes.
//!
//! Input: records as tests start and finish. Output: what is finished and what was under way. One journal a
//! worker, one JSON object a line, each written through before the next step. A line cut short by a freeze is
//! ignored: its test simply counts as not finished.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write;
use std::path::Path;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

/// One line.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Record {
    /// The test began; without a [`Record::Finished`] after it, whatever ran it died.
    Started {
        /// `binary::test`.
        test: String,
    },
    /// The test ended.
    Finished(Finished),
}

/// How a test ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Finished {
    /// `binary::test`.
    pub(crate) test: String,
    /// Passed or not.
    pub(crate) outcome: Outcome,
    /// Of all attempts together.
    pub(crate) seconds: f64,
    /// What the failed attempts printed; empty for a test that passed at once.
    pub(crate) output: String,
}

/// Passed or not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Outcome {
    /// At the first attempt.
    Passed,
    /// Only when tried again; counted as passed, and always shown.
    Flaky,
    /// At every attempt.
    Failed,
}

/// A journal's content.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Journal {
    /// By test.
    pub(crate) finished: BTreeMap<String, Finished>,
    /// Tests that began and did not finish, with how often they began.
    pub(crate) interrupted: BTreeMap<String, usize>,
}

impl Journal {
    /// Reads a journal; one that does not exist is empty.
    ///
    /// # Errors
    /// When it exists and cannot be read.
    pub(crate) fn read(path: &Path) -> Result<Journal> {
        match std::fs::read(path) {
            Ok(bytes) => Ok(Journal::parse(&String::from_utf8_lossy(&bytes))),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Journal::default()),
            Err(error) => Err(error).with_context(|| format!("read {}", path.display())),
        }
    }

    fn parse(text: &str) -> Journal {
        let mut journal = Journal::default();
        for record in text.lines().filter_map(|line| serde_json::from_str(line).ok()) {
            match record {
                Record::Started { test } => *journal.interrupted.entry(test).or_default() += 1,
                Record::Finished(finished) => {
                    journal.interrupted.remove(&finished.test);
                    journal.finished.insert(finished.test.clone(), finished);
                }
            }
        }
        journal
    }
}

/// Appends to a journal.
#[derive(Debug)]
pub(crate) struct Writer {
    file: File,
}

impl Writer {
    /// Opens or creates it.
    ///
    /// # Errors
    /// When that fails.
    pub(crate) fn open(path: &Path) -> Result<Writer> {
        let file = File::options().create(true).append(true).open(path);
        let mut file = file.with_context(|| format!("open {}", path.display()))?;
        // Ends a line that a freeze cut short, so that the next record stands on its own.
        file.write_all(b"\n")
            .with_context(|| format!("write {}", path.display()))?;
        Ok(Writer { file })
    }

    /// Writes one record through to the disk.
    ///
    /// # Errors
    /// When that fails.
    pub(crate) fn write(&mut self, record: &Record) -> Result<()> {
        let mut line = serde_json::to_vec(record)?;
        line.push(b'\n');
        self.file
            .write_all(&line)
            .and_then(|()| self.file.sync_data())
            .context("write the journal")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn finished(test: &str) -> Record {
        let (test, output) = (test.to_owned(), String::new());
        Record::Finished(Finished {
            test,
            outcome: Outcome::Passed,
            seconds: 1.5,
            output,
        })
    }

    fn started(test: &str) -> Record {
        Record::Started {
            test: test.to_owned(),
        }
    }

    #[test]
    fn what_finished_and_what_was_under_way_come_back() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal");
        let mut writer = Writer::open(&path).unwrap();
        for record in [started("a"), finished("a"), started("b"), started("b")] {
            writer.write(&record).unwrap();
        }
        let journal = Journal::read(&path).unwrap();
        assert_eq!(journal.finished.keys().collect::<Vec<_>>(), ["a"]);
        assert_eq!(journal.interrupted, [("b".to_owned(), 2)].into());
    }

    #[test]
    fn a_line_cut_short_loses_only_itself() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal");
        Writer::open(&path).unwrap().write(&started("a")).unwrap();
        let mut bytes = std::fs::read(&path).unwrap();
        bytes.extend_from_slice(b"{\"finished\":{\"test\":\"a\",\"outc\xff");
        std::fs::write(&path, bytes).unwrap();
        Writer::open(&path).unwrap().write(&finished("c")).unwrap();
        let journal = Journal::read(&path).unwrap();
        assert_eq!(journal.interrupted, [("a".to_owned(), 1)].into());
        assert_eq!(journal.finished.keys().collect::<Vec<_>>(), ["c"]);
    }

    #[test]
    fn no_file_is_an_empty_journal() {
        assert_eq!(
            Journal::read(Path::new("/nonexistent/journal")).unwrap(),
            Journal::default()
        );
    }
}
