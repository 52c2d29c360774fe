//! The file of known failures: tests that are expected to fail, and why.
//!
//! Input: the file's text, `path::test` a line, then two blanks or a tab and a reason; `#` begins a comment.
//! Paths are relative to the project's folder. Output: what is expected of a test, and the lines that no test
//! has. Not here: `xfail` in a test's own metadata, and what becomes of a test that is expected to fail.

use std::path::{Path, PathBuf};

use parking_lot::Mutex;
use provium_base::nearest::nearest;

use super::progress::Found;

/// Why a file of known failures cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KnownFailuresError {
    /// It cannot be read.
    #[error("the known failures in {path}: {source}")]
    Read {
        /// The file as the user names it.
        path: String,
        /// Why.
        source: std::io::Error,
    },
    /// A line of it names no test.
    #[error("{path}:{line}: expected `path::test`, then two blanks and a reason, got `{text}`")]
    Line {
        /// The file as the user names it.
        path: String,
        /// From 1.
        line: usize,
        /// The line.
        text: String,
    },
}

/// The tests that are known to fail.
#[derive(Debug, Default)]
pub struct KnownFailures {
    /// The file as the user names it.
    shown: String,
    entries: Vec<Entry>,
    /// The entries that no test has, as far as their files were run; a message each.
    unmatched: Mutex<Vec<String>>,
}

/// A line of the file.
#[derive(Debug)]
struct Entry {
    line: usize,
    /// The test file, absolute.
    file: PathBuf,
    /// The test file as it is written there.
    written: String,
    /// Name of the test, where two blanks or a tab end it.
    test: String,
    /// All that stands behind the `::`, for a name that has two blanks in it.
    whole: String,
    reason: Option<String>,
}

impl Entry {
    fn is(&self, file: &Path, test: &str) -> bool {
        self.file == file && (self.test == test || self.whole == test)
    }
}

/// That a test is expected to fail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expectation {
    /// Why it fails, if that is known.
    pub reason: Option<String>,
    /// Where that is said, and how it is taken away: for the message of a test that passes.
    pub mark: String,
}

impl KnownFailures {
    /// Reads the file at `path`, which messages name `shown`; its paths are relative to `project`.
    ///
    /// # Errors
    /// [`KnownFailuresError`].
    pub fn read(path: &Path, shown: &str, project: &Path) -> Result<KnownFailures, KnownFailuresError> {
        let text = std::fs::read_to_string(path).map_err(|source| KnownFailuresError::Read {
            path: shown.to_owned(),
            source,
        })?;
        let mut known = KnownFailures {
            shown: shown.to_owned(),
            ..KnownFailures::default()
        };
        for (index, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let entry = entry(line, index + 1, project).ok_or_else(|| KnownFailuresError::Line {
                path: shown.to_owned(),
                line: index + 1,
                text: line.to_owned(),
            })?;
            if !entry.file.exists() {
                let message = format!("{shown}:{}: there is no file {}", entry.line, entry.written);
                known.unmatched.lock().push(message);
            }
            known.entries.push(entry);
        }
        Ok(known)
    }

    /// Whether the test `test` of `file` is expected to fail.
    pub fn expectation(&self, file: &Path, test: &str) -> Option<Expectation> {
        let entry = self.entries.iter().find(|entry| entry.is(file, test))?;
        Some(Expectation {
            reason: entry.reason.clone(),
            mark: format!("{}:{}", self.shown, entry.line),
        })
    }

    /// Looks for the lines about a file that has registered all its tests and has none of that name.
    pub(super) fn check(&self, file: &Path, tests: &[Found]) {
        for entry in self.entries.iter().filter(|entry| entry.file == file) {
            if tests.iter().any(|test| entry.is(file, &test.name)) {
                continue;
            }
            let near = nearest(&entry.test, tests.iter().map(|test| test.name.as_str()));
            let blanks = tests.iter().any(|test| {
                let rest = entry.test.strip_prefix(test.name.as_str());
                rest.is_some_and(|rest| rest.starts_with(' '))
            });
            let hint = match near {
                _ if blanks => "; two blanks or a tab go before the reason".to_owned(),
                Some(near) => format!("; did you mean `{near}`?"),
                None => String::new(),
            };
            self.unmatched.lock().push(format!(
                "{}:{}: {} has no test `{}`{hint}",
                self.shown, entry.line, entry.written, entry.test
            ));
        }
    }

    /// Messages about the lines that match nothing, each once.
    pub(super) fn take_unmatched(&self) -> Vec<String> {
        std::mem::take(&mut *self.unmatched.lock())
    }
}

/// One line that is neither empty nor a comment.
fn entry(text: &str, line: usize, project: &Path) -> Option<Entry> {
    // Where the file's name ends is plainer than a `::`, which names of tests have as well.
    let at = text.find(".lua::").map(|at| at + ".lua".len());
    let at = at.or_else(|| text.find("::"))?;
    let (written, whole) = (text[..at].trim(), text[at + 2..].trim());
    let end = [whole.find("  "), whole.find('\t')].into_iter().flatten().min();
    let (test, reason) = match end {
        Some(end) => (whole[..end].trim_end(), Some(whole[end..].trim().to_owned())),
        None => (whole, None),
    };
    if written.is_empty() || test.is_empty() {
        return None;
    }
    Some(Entry {
        line,
        file: project.join(written.strip_prefix("./").unwrap_or(written)),
        written: written.to_owned(),
        test: test.to_owned(),
        whole: whole.to_owned(),
        reason,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> (tempfile::TempDir, Result<KnownFailures, KnownFailuresError>) {
        let dir = tempfile::tempdir().expect("a temporary folder");
        std::fs::create_dir(dir.path().join("tests")).expect("a folder");
        std::fs::write(dir.path().join("tests/a.test.lua"), "").expect("a file");
        let path = dir.path().join("known.txt");
        std::fs::write(&path, text).expect("a file");
        let known = KnownFailures::read(&path, "known.txt", dir.path());
        (dir, known)
    }

    #[test]
    fn a_line_has_a_test_and_perhaps_a_reason() {
        let text = "# what fails\n\n\
                    tests/a.test.lua::boots from a disk  bug 7: no driver\n\
                    ./tests/a.test.lua::a::b\treason\n\
                    tests/a.test.lua::plain\n\
                    tests/a.test.lua::two  blanks\n";
        let (dir, known) = read(text);
        let (known, file) = (known.expect("it is right"), dir.path().join("tests/a.test.lua"));
        for (test, expected) in [
            (
                "boots from a disk",
                Some((Some("bug 7: no driver"), "known.txt:3")),
            ),
            ("a::b", Some((Some("reason"), "known.txt:4"))),
            ("plain", Some((None, "known.txt:5"))),
            ("two  blanks", Some((Some("blanks"), "known.txt:6"))),
            ("boots", None),
        ] {
            let found = known.expectation(&file, test);
            let found = found
                .as_ref()
                .map(|found| (found.reason.as_deref(), found.mark.as_str()));
            assert_eq!(found, expected, "{test}");
        }
        assert_eq!(known.expectation(&dir.path().join("b.test.lua"), "plain"), None);
    }

    #[test]
    fn what_matches_nothing_is_said_once() {
        let text = "tests/a.test.lua::bots\ntests/a.test.lua::boots why not\ntests/gone.test.lua::x\n\
                    tests/a.test.lua::boots\n";
        let (dir, known) = read(text);
        let known = known.expect("it is right");
        let boots = Found::named("boots");
        known.check(&dir.path().join("tests/a.test.lua"), &[boots]);
        assert_eq!(
            known.take_unmatched(),
            [
                "known.txt:3: there is no file tests/gone.test.lua",
                "known.txt:1: tests/a.test.lua has no test `bots`; did you mean `boots`?",
                "known.txt:2: tests/a.test.lua has no test `boots why not`; two blanks or a tab go before the reason",
            ]
        );
        assert!(known.take_unmatched().is_empty());
    }

    #[test]
    fn what_names_no_test_is_an_error_with_its_line() {
        for (text, expected) in [
            (
                "\nboots",
                "known.txt:2: expected `path::test`, then two blanks and a reason, got `boots`",
            ),
            ("::boots", "known.txt:1: expected `path::test`"),
            ("a.test.lua::", "known.txt:1: expected `path::test`"),
        ] {
            let (_dir, known) = read(text);
            let error = known.expect_err(text).to_string();
            assert!(error.starts_with(expected), "{error}");
        }
        let error = KnownFailures::read("/no/such".as_ref(), "no/such", "/".as_ref());
        let error = error.expect_err("it is not there").to_string();
        assert!(
            error.starts_with("the known failures in no/such: No such file"),
            "{error}"
        );
    }
}
