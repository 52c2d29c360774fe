//! The tests that failed last: what `--rerun-failed` and `--failed-first` go by.
//!
//! Input: what runs came to. Output: the tests that failed when they last ran, kept in a small file of the
//! project. A test stays there until it passes or is gone. Not here: choosing and ordering.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use provium_base::cause::Cause;
use provium_base::outcome::{FileEnd, TestStatus};
use serde::{Deserialize, Serialize};

use super::progress::Found;

/// Version of the file.
const VERSION: u32 = 1;

/// Why the file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum LastRunError {
    /// Reading or writing failed.
    #[error("{path}: {}", Cause(source))]
    Io {
        /// The file.
        path: String,
        /// Why.
        source: io::Error,
    },
    /// It is not what a run has written.
    #[error("{path} is not what provium writes there ({why}); remove it")]
    Content {
        /// The file.
        path: String,
        /// Why.
        why: String,
    },
}

/// The tests that failed when they last ran, by their files.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LastRun {
    /// Absolute paths of files; the test without a name is the file's own code.
    failed: BTreeMap<PathBuf, BTreeSet<String>>,
}

/// The file's content.
#[derive(Serialize, Deserialize)]
struct Content {
    version: u32,
    /// Names of tests, by paths relative to the project's folder.
    failed: BTreeMap<PathBuf, BTreeSet<String>>,
}

impl LastRun {
    /// Reads the file at `path`; `None` where there is none. Files that are gone are left out.
    ///
    /// # Errors
    /// [`LastRunError`].
    pub fn read(path: &Path, project: &Path) -> Result<Option<LastRun>, LastRunError> {
        let shown = || path.display().to_string();
        let bytes = match fs::read(path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => {
                return Err(LastRunError::Io {
                    path: shown(),
                    source,
                });
            }
        };
        let bad = |why: String| LastRunError::Content { path: shown(), why };
        let content: Content = serde_json::from_slice(&bytes).map_err(|error| bad(error.to_string()))?;
        if content.version != VERSION {
            return Err(bad(format!("version {}", content.version)));
        }
        let absolute = content
            .failed
            .into_iter()
            .map(|(file, tests)| (project.join(file), tests));
        Ok(Some(LastRun {
            failed: absolute.filter(|(file, _)| file.exists()).collect(),
        }))
    }

    /// Writes it to `path`, whole or not at all. Where nothing has failed and there is no file, none is made.
    ///
    /// # Errors
    /// [`LastRunError::Io`].
    pub fn write(&self, path: &Path, project: &Path) -> Result<(), LastRunError> {
        if self.is_empty() && !path.exists() {
            return Ok(());
        }
        let relative = |file: &Path| file.strip_prefix(project).unwrap_or(file).to_owned();
        let failed = self
            .failed
            .iter()
            .map(|(file, tests)| (relative(file), tests.clone()));
        let content = Content {
            version: VERSION,
            failed: failed.collect(),
        };
        let folder = path.parent().unwrap_or(Path::new("."));
        let write = || {
            fs::create_dir_all(folder)?;
            let mut file = tempfile::NamedTempFile::new_in(folder)?;
            serde_json::to_writer(&mut file, &content)?;
            file.write_all(b"\n")?;
            file.persist(path).map_err(|error| error.error)?;
            Ok(())
        };
        write().map_err(|source| LastRunError::Io {
            path: path.display().to_string(),
            source,
        })
    }

    /// Whether nothing has failed.
    pub fn is_empty(&self) -> bool {
        self.failed.is_empty()
    }

    /// Number of tests that have failed; a file's own code counts as one.
    pub fn count(&self) -> usize {
        self.failed.values().map(BTreeSet::len).sum()
    }

    /// Whether a test of the file has failed, or its own code.
    pub fn has_failed_in(&self, file: &Path) -> bool {
        self.failed.contains_key(file)
    }

    /// Whether the test has failed, or its file's own code.
    pub fn has_failed(&self, file: &Path, test: &str) -> bool {
        let failed = self.failed.get(file);
        failed.is_some_and(|failed| failed.contains(test) || failed.contains(""))
    }

    /// Takes note of what became of a file; `tests` are all that it has, wanted or not, as far as it came.
    pub fn note(&mut self, file: &Path, end: &FileEnd, tests: &[&Found]) {
        let result = &end.result;
        let mut failed = self.failed.remove(file).unwrap_or_default();
        let whole = result.chunk_error.is_none() && !end.stopped;
        if whole {
            // The names that are gone with the code that had them; nothing is known of a file without tests.
            failed.retain(|name| {
                !name.is_empty() && (tests.is_empty() || tests.iter().any(|test| test.name == *name))
            });
        }
        for test in &result.tests {
            match test.status {
                TestStatus::Failed | TestStatus::Xpassed => drop(failed.insert(test.name.clone())),
                TestStatus::Passed | TestStatus::Xfailed => drop(failed.remove(&test.name)),
                TestStatus::Skipped => {}
            }
        }
        if end.failed() {
            failed.extend(result.not_run.iter().cloned());
            if result.chunk_error.is_some() || failed.is_empty() {
                failed.insert(String::new());
            }
        }
        if !failed.is_empty() {
            self.failed.insert(file.to_owned(), failed);
        }
    }
}

#[cfg(test)]
mod tests {
    use provium_base::outcome::FileResult;

    use super::*;
    use crate::samples;

    fn end(tests: &[(&str, TestStatus)], error: Option<&str>) -> FileEnd {
        let tests: Vec<_> = tests
            .iter()
            .map(|(name, status)| samples::test(name, *status, None))
            .collect();
        let passed = error.is_none() && !tests.iter().any(|test| test.status.counts_against_the_run());
        FileEnd {
            result: FileResult {
                tests,
                passed,
                chunk_error: error.map(str::to_owned),
                ..FileResult::new("a.test.lua")
            },
            stopped: false,
            shown_before: false,
            selected: true,
        }
    }

    fn found(names: &[&str]) -> Vec<Found> {
        names.iter().map(|name| Found::named(name)).collect()
    }

    #[test]
    fn a_test_stays_until_it_passes_or_is_gone() {
        use TestStatus::{Failed, Passed, Skipped, Xfailed, Xpassed};
        let file = Path::new("/p/a.test.lua");
        let mut last = LastRun::default();
        let mut note = |tests: &[(&str, TestStatus)], error, there: &[&str]| {
            let there = found(there);
            last.note(file, &end(tests, error), &there.iter().collect::<Vec<_>>());
            let failed = last.failed.get(file).cloned().unwrap_or_default();
            failed.into_iter().collect::<Vec<_>>()
        };
        let all = ["a", "b", "c", "d"];
        assert_eq!(
            note(
                &[("a", Failed), ("b", Xpassed), ("c", Failed), ("d", Xfailed)],
                None,
                &all
            ),
            ["a", "b", "c"]
        );
        // What did not run stays; what was skipped has not passed.
        assert_eq!(note(&[("a", Passed), ("b", Skipped)], None, &all), ["b", "c"]);
        assert_eq!(
            note(&[("b", Passed)], None, &["a", "b", "d"]),
            Vec::<String>::new(),
            "c is gone"
        );
        assert_eq!(note(&[], Some("syntax"), &[]), [""]);
        assert_eq!(note(&[("a", Failed)], Some("later"), &["a"]), ["", "a"]);
        assert_eq!(note(&[("a", Failed)], None, &["a"]), ["a"]);
        assert_eq!(note(&[("a", Passed)], None, &["a"]), Vec::<String>::new());
    }

    #[test]
    fn what_is_written_is_read_again_without_files_that_are_gone() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join(".provium/last.json");
        let mut last = LastRun::default();
        last.write(&path, dir.path()).expect("nothing to write");
        assert!(!path.exists(), "no file without need");
        assert_eq!(LastRun::read(&path, dir.path()).expect("no file"), None);
        for name in ["a.test.lua", "gone.test.lua"] {
            fs::write(dir.path().join(name), "").expect("a file");
            let failed = [("x", TestStatus::Failed)];
            last.note(&dir.path().join(name), &end(&failed, None), &[&Found::named("x")]);
        }
        last.write(&path, dir.path()).expect("written");
        fs::remove_file(dir.path().join("gone.test.lua")).expect("removed");
        let read = LastRun::read(&path, dir.path())
            .expect("it is right")
            .expect("it is there");
        assert!(read.has_failed(&dir.path().join("a.test.lua"), "x"));
        assert!(!read.has_failed(&dir.path().join("a.test.lua"), "y"));
        assert_eq!(read.count(), 1);
        fs::write(&path, "{").expect("torn");
        let error = LastRun::read(&path, dir.path()).expect_err("torn").to_string();
        assert!(
            error.contains("last.json is not what provium writes there") && error.ends_with("remove it"),
            "{error}"
        );
    }
}
