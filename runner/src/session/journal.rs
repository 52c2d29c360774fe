//! The journal of a run: what has ended and what runs, so that a run whose host froze or whose process died
//! can go on where it was.
//!
//! Input: files as they begin and end. Output: after a restart, the results that need not be made again, and
//! the files that ran. Each line is one JSON object: `{"began": PATH}`, `{"test": [PATH, NAME]}` when a test
//! begins, `{"ended": RESULT}` once a file has ended, `{"shown": PATH}` once its report is out, and
//! `"one_at_a_time"` from where on files run alone. A last line that is torn is no line. Not here: any use
//! outside of one run; it is no cache.

use std::collections::HashSet;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::path::{Path, PathBuf};

use parking_lot::Mutex;
use provium_base::outcome::FileResult;
use serde::{Deserialize, Serialize};

/// An open journal.
#[derive(Debug)]
pub struct Journal {
    path: PathBuf,
    file: Mutex<File>,
    one_at_a_time: bool,
}

/// A file that had begun and not ended when its process did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unfinished {
    /// The file.
    pub path: String,
    /// The last of its tests to begin.
    pub test: Option<String>,
}

/// A file that an earlier start of the run has finished.
#[derive(Debug, Clone, PartialEq)]
pub struct Replayed {
    /// What came of it.
    pub result: FileResult,
    /// Whether its report is out as well.
    pub shown: bool,
}

/// Why a journal cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// Reading or writing failed.
    #[error("the journal {}: {source}", path.display())]
    Io {
        /// The journal.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A whole line of it is not what a journal holds.
    #[error("{}:{line}: not a journal: {source}", path.display())]
    Line {
        /// The journal.
        path: PathBuf,
        /// From 1.
        line: usize,
        /// Why.
        source: serde_json::Error,
    },
}

/// A line of the journal.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Line {
    Began(String),
    Test(String, String),
    Ended(FileResult),
    Shown(String),
    OneAtATime,
}

impl Journal {
    /// Opens the journal, making it if need be, and returns what it holds in the order it was written.
    ///
    /// # Errors
    /// [`JournalError`] when it cannot be read or written, or holds whole lines that are no entries.
    pub fn open(path: &Path) -> Result<(Journal, Vec<Replayed>), JournalError> {
        let (journal, replayed, _) = Self::read(path)?;
        Ok((journal, replayed))
    }

    /// The same for whoever looks after a run whose process has died: the files that ran then.
    ///
    /// # Errors
    /// Those of [`open`](Self::open).
    pub fn after_death(path: &Path) -> Result<(Journal, Vec<Unfinished>), JournalError> {
        let (journal, _, unfinished) = Self::read(path)?;
        Ok((journal, unfinished))
    }

    fn read(path: &Path) -> Result<(Journal, Vec<Replayed>, Vec<Unfinished>), JournalError> {
        let error = |source| JournalError::Io {
            path: path.to_owned(),
            source,
        };
        let mut file = OpenOptions::new()
            .read(true)
            .append(true)
            .create(true)
            .open(path)
            .map_err(error)?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).map_err(error)?;
        let whole = bytes
            .iter()
            .rposition(|byte| *byte == b'\n')
            .map_or(0, |last| last + 1);
        if whole < bytes.len() {
            file.set_len(whole as u64).map_err(error)?;
            file.seek(io::SeekFrom::End(0)).map_err(error)?;
        }
        let mut replayed: Vec<Replayed> = Vec::new();
        let mut shown = HashSet::new();
        let mut running: Vec<Unfinished> = Vec::new();
        let mut one_at_a_time = false;
        for (index, line) in bytes[..whole].split(|byte| *byte == b'\n').enumerate() {
            if line.is_empty() {
                continue;
            }
            match serde_json::from_slice(line) {
                Ok(Line::Began(path)) => {
                    running.retain(|file| file.path != path);
                    running.push(Unfinished { path, test: None });
                }
                Ok(Line::Test(path, test)) => {
                    let file = running.iter_mut().find(|file| file.path == path);
                    file.into_iter().for_each(|file| file.test = Some(test.clone()));
                }
                Ok(Line::Ended(result)) => {
                    running.retain(|file| file.path != result.path);
                    replayed.push(Replayed { result, shown: false });
                }
                Ok(Line::OneAtATime) => {
                    running.clear();
                    one_at_a_time = true;
                }
                Ok(Line::Shown(path)) => drop(shown.insert(path)),
                Err(source) => {
                    return Err(JournalError::Line {
                        path: path.to_owned(),
                        line: index + 1,
                        source,
                    });
                }
            }
        }
        for entry in &mut replayed {
            entry.shown = shown.contains(&entry.result.path);
        }
        Ok((
            Journal {
                path: path.to_owned(),
                file: Mutex::new(file),
                one_at_a_time,
            },
            replayed,
            running,
        ))
    }

    /// Whether files are to run alone, so that the next death tells which of them it was.
    pub fn is_one_at_a_time(&self) -> bool {
        self.one_at_a_time
    }

    /// Has files run alone from the next start on; those that ran will run again.
    ///
    /// # Errors
    /// [`JournalError::Io`].
    pub fn one_at_a_time(&self) -> Result<(), JournalError> {
        self.append(&Line::OneAtATime)
    }

    /// Notes that a file begins.
    ///
    /// # Errors
    /// [`JournalError::Io`].
    pub fn began(&self, path: &str) -> Result<(), JournalError> {
        self.write(&Line::Began(path.to_owned()), false)
    }

    /// Notes that a test of a file begins, if that can be noted.
    pub fn test(&self, path: &str, test: &str) {
        let line = Line::Test(path.to_owned(), test.to_owned());
        if let Err(error) = self.write(&line, false) {
            tracing::debug!(%error, "a test that begins is not noted");
        }
    }

    /// Notes that a file has ended. Returns once the line is on the disk.
    ///
    /// # Errors
    /// [`JournalError::Io`].
    pub fn ended(&self, result: &FileResult) -> Result<(), JournalError> {
        self.append(&Line::Ended(result.clone()))
    }

    /// Notes that a file's report is out.
    ///
    /// # Errors
    /// [`JournalError::Io`].
    pub fn shown(&self, path: &str) -> Result<(), JournalError> {
        self.append(&Line::Shown(path.to_owned()))
    }

    fn append(&self, line: &Line) -> Result<(), JournalError> {
        self.write(line, true)
    }

    /// Writes a line, which outlives this process at once, and the host's own end if it is to be `lasting`.
    fn write(&self, line: &Line, lasting: bool) -> Result<(), JournalError> {
        let mut line = serde_json::to_vec(line).expect("an entry has only string keys");
        line.push(b'\n');
        let mut file = self.file.lock();
        let written = file.write_all(&line).and_then(|()| match lasting {
            true => file.sync_data(),
            false => Ok(()),
        });
        written.map_err(|source| JournalError::Io {
            path: self.path.clone(),
            source,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples;

    fn paths(replayed: &[Replayed]) -> Vec<(&str, bool)> {
        replayed
            .iter()
            .map(|entry| (entry.result.path.as_str(), entry.shown))
            .collect()
    }

    #[test]
    fn what_was_written_is_read_again() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let path = dir.path().join("journal");
        let (journal, replayed) = Journal::open(&path).expect("a new journal");
        assert_eq!(replayed, []);
        let (one, two) = (samples::passing("a.test.lua"), samples::failing("b.test.lua"));
        journal.ended(&one).expect("append");
        journal.shown("a.test.lua").expect("append");
        journal.ended(&two).expect("append");
        drop(journal);
        let (_, replayed) = Journal::open(&path).expect("the same journal");
        assert_eq!(paths(&replayed), [("a.test.lua", true), ("b.test.lua", false)]);
        assert_eq!((&replayed[0].result, &replayed[1].result), (&one, &two));
    }

    #[test]
    fn a_torn_line_is_no_line_wherever_it_is_torn() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let path = dir.path().join("journal");
        let (journal, _) = Journal::open(&path).expect("a new journal");
        journal.ended(&samples::passing("a.test.lua")).expect("append");
        let whole = std::fs::read(&path).expect("the journal");
        journal.ended(&samples::passing("b.test.lua")).expect("append");
        let both = std::fs::read(&path).expect("the journal");
        for cut in whole.len()..both.len() {
            std::fs::write(&path, &both[..cut]).expect("a torn journal");
            let (journal, replayed) = Journal::open(&path).expect("a torn journal is one");
            assert_eq!(paths(&replayed), [("a.test.lua", false)], "cut at {cut}");
            journal.shown("a.test.lua").expect("append");
            let (_, replayed) = Journal::open(&path).expect("the journal again");
            assert_eq!(paths(&replayed), [("a.test.lua", true)], "cut at {cut}");
        }
    }

    #[test]
    fn a_whole_line_of_something_else_is_an_error() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let path = dir.path().join("journal");
        std::fs::write(&path, "\nhello\n").expect("write");
        let error = Journal::open(&path).expect_err("not a journal").to_string();
        assert!(error.contains("journal:2: not a journal: "), "{error}");
        assert!(
            Journal::open(&dir.path().join("no/such"))
                .expect_err("no folder")
                .to_string()
                .contains("no/such")
        );
    }

    #[test]
    fn what_ran_when_the_process_died_is_told_with_its_last_test() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let path = dir.path().join("journal");
        let running = |test: Option<&str>, path: &str| Unfinished {
            path: path.to_owned(),
            test: test.map(str::to_owned),
        };
        let (journal, _) = Journal::open(&path).expect("a new journal");
        for file in ["a.test.lua", "b.test.lua", "c.test.lua"] {
            journal.began(file).expect("append");
        }
        journal.test("a.test.lua", "one");
        journal.test("c.test.lua", "two");
        journal.test("a.test.lua", "three");
        journal.ended(&samples::passing("b.test.lua")).expect("append");
        let (journal, unfinished) = Journal::after_death(&path).expect("the journal");
        assert_eq!(
            unfinished,
            [
                running(Some("three"), "a.test.lua"),
                running(Some("two"), "c.test.lua")
            ]
        );
        assert!(!journal.is_one_at_a_time());
        journal.one_at_a_time().expect("append");
        journal.began("c.test.lua").expect("append");
        let (journal, unfinished) = Journal::after_death(&path).expect("the journal");
        assert_eq!(unfinished, [running(None, "c.test.lua")]);
        assert!(journal.is_one_at_a_time());
        journal.ended(&samples::failing("c.test.lua")).expect("append");
        let (_, replayed) = Journal::open(&path).expect("the journal");
        assert_eq!(paths(&replayed), [("b.test.lua", false), ("c.test.lua", false)]);
    }
}
