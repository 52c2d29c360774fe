//! `--matrix kernel=A,B`: the same tests on several kernels, and where they differ.
//!
//! Input: the command line. Output: this command run again for each kernel, with that kernel in all profiles;
//! then one report of all: as text, tests that differ first, or as JSON lines that name the kernel. Not here:
//! running tests, which each of those commands does.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt::{self, Write as _};
use std::path::Path;
use std::process::Command;

use provium_base::cancel::Cancel;
use provium_base::exit;
use provium_base::outcome::{FileResult, TestStatus};

use super::again;
use super::args::{Matrix, RunArgs};
use super::interrupt::SignalWatch;
use super::print::{complain, in_line, print};
use super::project::Project;
use crate::session::artifacts::Artifacts;

/// Runs the tests on each kernel, one after the other, and reports all of it.
pub(super) fn run(project: &Project, args: &RunArgs, matrix: &Matrix) -> anyhow::Result<u8> {
    let profiles: Vec<_> = project.config.profiles.keys().collect();
    anyhow::ensure!(
        !profiles.is_empty(),
        "--matrix: there is no profile whose kernel could be another"
    );
    let reports = &args.reports;
    let others = reports.tap || reports.ktap || reports.events_stdout || reports.coverage;
    anyhow::ensure!(
        reports.junit.is_none() && !others,
        "--matrix has a report of its own: as text, or with --json; run each kernel by --kernel for others"
    );
    for kernel in &matrix.kernels {
        anyhow::ensure!(
            project.cwd.join(kernel).is_file(),
            "--matrix: {kernel} is not a file"
        );
    }
    let cancel = Cancel::new();
    let _watch = SignalWatch::new(&cancel)?;
    let folder = match &args.show.artifacts {
        Some(folder) => project.cwd.join(folder),
        None => Artifacts::default_folder(&project.config.project),
    };
    let written: Vec<OsString> = std::env::args_os().skip(1).collect();
    let (mut table, mut code) = (Table::new(matrix), exit::SUCCESS);
    for (number, kernel) in matrix.kernels.iter().enumerate() {
        complain(&format!("provium: on {kernel}"));
        let mut command = Command::new(std::env::current_exe()?);
        command.args(
            profiles
                .iter()
                .map(|profile| format!("--kernel={profile}={kernel}")),
        );
        let own = beside(&folder, number);
        command.arg(format!("--artifacts={}", own.to_string_lossy()));
        command.args(without_matrix(&written, args.show.json));
        let ended = again::again(command, &cancel, |line| {
            table.add(number, kernel, line, args.show.json)
        })?;
        match ended {
            exit::SUCCESS => {}
            exit::FAILED => code = code.max(exit::FAILED),
            other => return Ok(other),
        }
    }
    if !args.show.json {
        print(&table.text(args.show.verbose))?;
    }
    Ok(code)
}

/// The command line without `--matrix`, with a report that is read here.
fn without_matrix(written: &[OsString], json: bool) -> Vec<OsString> {
    let mut kept = Vec::new();
    let mut words = written.iter();
    while let Some(word) = words.next() {
        let text = word.to_string_lossy();
        if text == "--" {
            kept.push(word.clone());
            kept.extend(words.by_ref().cloned());
        } else if text == "--matrix" || text == "--artifacts" {
            words.next();
        } else if !text.starts_with("--matrix=") && !text.starts_with("--artifacts=") {
            kept.push(word.clone());
        }
    }
    if !json {
        kept.insert(0, "--json".into());
    }
    kept
}

/// The folder of artifacts of one kernel's run.
fn beside(folder: &Path, number: usize) -> std::path::PathBuf {
    let name = folder.file_name().unwrap_or_default().to_string_lossy();
    folder.with_file_name(format!("{name}-kernel-{}", number + 1))
}

/// How a test ended on one kernel, and its message.
type Ended = (Option<TestStatus>, String);
/// A file and a test of it; the test without a name is the file's own code.
type Key = (String, String);
/// How a test ended on each kernel, where it has a result there.
type Row = Vec<Option<Ended>>;

/// What became of each test on each kernel.
struct Table<'a> {
    kernels: &'a [String],
    tests: BTreeMap<Key, Row>,
}

impl<'a> Table<'a> {
    fn new(matrix: &'a Matrix) -> Self {
        Table {
            kernels: &matrix.kernels,
            tests: BTreeMap::new(),
        }
    }

    /// Takes in a file's result; prints it with the kernel's name if that is asked for.
    fn add(&mut self, number: usize, kernel: &str, line: &str, json: bool) -> anyhow::Result<()> {
        let result: FileResult = serde_json::from_str(line)?;
        if json {
            let mut value: serde_json::Value = serde_json::from_str(line)?;
            value["kernel"] = kernel.into();
            return print(&format!("{value}\n")).map(drop);
        }
        let mut put = |name: &str, ended: Ended| {
            let key = (result.path.clone(), name.to_owned());
            let row = self
                .tests
                .entry(key)
                .or_insert_with(|| vec![None; self.kernels.len()]);
            row[number] = Some(ended);
        };
        for test in &result.tests {
            put(
                &test.name,
                (Some(test.status), test.message.clone().unwrap_or_default()),
            );
        }
        if let Some(error) = &result.chunk_error {
            put("", (Some(TestStatus::Failed), error.clone()));
        }
        for test in &result.not_run {
            put(test, (None, String::new()));
        }
        Ok(())
    }

    /// The report: tests that differ, then those that failed on all, then counts.
    fn text(&self, verbose: bool) -> String {
        let words = |row: &[Option<Ended>]| row.iter().map(word).collect::<Vec<_>>();
        let is_same = |row: &[Option<Ended>]| words(row).windows(2).all(|two| two[0] == two[1]);
        let differ: Vec<_> = self.tests.iter().filter(|(_, row)| !is_same(row)).collect();
        let same = self.tests.iter().filter(|(_, row)| is_same(row));
        let (failed, fine): (Vec<_>, Vec<_>) = same.partition(|(_, row)| row.iter().any(has_failed));
        let width = |number: usize| self.kernels[number].chars().count().max(7);
        let mut text = String::new();
        let mut group = |title: &str, rows: &[(&Key, &Row)]| {
            if rows.is_empty() {
                return;
            }
            let _ = write!(text, "{title}\n  ");
            for (number, kernel) in self.kernels.iter().enumerate() {
                let _ = write!(text, "{kernel:w$}  ", w = width(number));
            }
            text.push('\n');
            for (key, row) in rows {
                text.push_str("  ");
                for (number, ended) in row.iter().enumerate() {
                    let _ = write!(text, "{:w$}  ", word(ended), w = width(number));
                }
                let _ = writeln!(text, "{}", Name(key));
                for (number, ended) in row.iter().enumerate().filter(|(_, ended)| has_failed(ended)) {
                    let message = ended.as_ref().map_or("", |(_, message)| message.as_str());
                    let first = message.lines().next().unwrap_or_default();
                    let _ = writeln!(text, "      {}: {}", self.kernels[number], in_line(first));
                }
            }
        };
        group("differ:", &differ);
        group("failed on all:", &failed);
        if verbose {
            group("the same on all:", &fine);
        }
        let _ = writeln!(
            text,
            "{} kernel(s); {} test(s) differ, {} failed on all, {} are the same",
            self.kernels.len(),
            differ.len(),
            failed.len(),
            fine.len()
        );
        text
    }
}

/// A test as it is named on the command line.
struct Name<'a>(&'a Key);

impl fmt::Display for Name<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (path, name) = self.0;
        match name.is_empty() {
            true => write!(f, "{path}: its own code"),
            false => write!(f, "{path}::{}", in_line(name)),
        }
    }
}

fn has_failed(ended: &Option<Ended>) -> bool {
    matches!(ended, Some((Some(status), _)) if status.counts_against_the_run())
}

fn word(ended: &Option<Ended>) -> &'static str {
    match ended {
        None => "-",
        Some((None, _)) => "not run",
        Some((Some(status), _)) => match status {
            TestStatus::Passed => "pass",
            TestStatus::Failed => "FAIL",
            TestStatus::Skipped => "skip",
            TestStatus::Xfailed => "XFAIL",
            TestStatus::Xpassed => "XPASS",
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples;

    fn line(tests: &[(&str, TestStatus, Option<&str>)]) -> String {
        let tests = tests
            .iter()
            .map(|(name, status, message)| samples::test(name, *status, *message));
        let result = FileResult {
            tests: tests.collect(),
            ..FileResult::new("a.test.lua")
        };
        serde_json::to_string(&result).expect("JSON")
    }

    #[test]
    fn tests_that_differ_come_first() {
        use TestStatus::{Failed, Passed, Skipped};
        let matrix: Matrix = "kernel=old,new".parse().expect("a matrix");
        let mut table = Table::new(&matrix);
        let old = [
            ("boots", Passed, None),
            ("adds", Passed, None),
            ("bad", Failed, Some("no\nnot")),
            ("gone", Skipped, None),
        ];
        let new = [
            ("boots", Failed, Some("panic\nmore")),
            ("adds", Passed, None),
            ("bad", Failed, Some("no")),
        ];
        table.add(0, "old", &line(&old), false).expect("a result");
        table.add(1, "new", &line(&new), false).expect("a result");
        let expected = "differ:\n  old      new      \n  pass     FAIL     a.test.lua::boots\n      new: panic\n  \
                        skip     -        a.test.lua::gone\n\
                        failed on all:\n  old      new      \n  FAIL     FAIL     a.test.lua::bad\n      old: no\n      new: no\n\
                        2 kernel(s); 2 test(s) differ, 1 failed on all, 1 are the same\n";
        assert_eq!(table.text(false), expected);
        assert!(table.text(true).contains("the same on all:\n"));
    }

    #[test]
    fn each_command_is_this_one_without_the_matrix() {
        let words = |text: &str| text.split(' ').map(OsString::from).collect::<Vec<_>>();
        let kept = |text: &str, json| without_matrix(&words(text), json).join(std::ffi::OsStr::new(" "));
        assert_eq!(kept("a --matrix kernel=x,y -v", false), "--json a -v");
        assert_eq!(
            kept("--json --matrix=kernel=x,y --artifacts z b -- --matrix c", true),
            "--json b -- --matrix c"
        );
    }
}
