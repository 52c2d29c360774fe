//! The tests that need a KVM which runs guests: package `provium-tests`.
//!
//! Input: the built `provium`. Output: a [`Summary`]. Not here: where they run ([`place`]). What has to
//! survive a frozen emulated host is in a folder that the workers share (see [`worker`]).

mod journal;
pub(crate) mod place;
mod process;
pub(crate) mod worker;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::command::{output, run as run_program, shown, status};
use crate::workspace;
use journal::{Finished, Journal, Outcome};
use place::Place;

/// Which tests to run, and how long each may take.
#[derive(Debug, Clone)]
pub(crate) struct Selection {
    /// Only tests whose name, with the binary's, contains this.
    pub(crate) filter: String,
    /// Seconds one attempt may take.
    pub(crate) limit: u64,
    /// How often a test does what it does, when it is not the test's own number: a variable of its
    /// environment.
    pub(crate) times: Option<(&'static str, u32)>,
}

impl Default for Selection {
    fn default() -> Selection {
        Selection {
            filter: String::new(),
            limit: 240,
            times: None,
        }
    }
}

/// What the tests came to.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Summary {
    /// Passed, flaky ones included.
    pub(crate) passed: usize,
    /// Failed or not run.
    pub(crate) failed: Vec<String>,
    /// Passed at the second attempt only.
    pub(crate) flaky: Vec<String>,
    /// Where they ran, for the report.
    pub(crate) place: String,
}

impl Summary {
    /// Takes in what other tests came to.
    pub(crate) fn add(&mut self, other: Summary) {
        self.passed += other.passed;
        self.failed.extend(other.failed);
        self.flaky.extend(other.flaky);
        self.place = other.place;
    }
}

/// Builds the tests and runs them.
///
/// # Errors
/// When they cannot be built or started; failed tests are in the summary.
pub(crate) fn run(provium: &Path, selection: &Selection) -> Result<Summary> {
    let binaries = build()?;
    let tests = worker::list(&binaries, &selection.filter)?;
    ensure!(
        !tests.is_empty(),
        "no KVM test has `{}` in its name",
        selection.filter
    );
    let share = workspace::build_folder()?.join("kvm-tests");
    if share.exists() {
        std::fs::remove_dir_all(&share).with_context(|| format!("remove {}", share.display()))?;
    }
    std::fs::create_dir_all(&share).with_context(|| format!("create {}", share.display()))?;

    let place = Place::find(provium)?;
    println!("   {} tests on {place}", tests.len());
    if let Place::Emulated { downloads: true, .. } = place {
        // Once and alone, so that hosts started together do not each fetch the same kernel.
        run_program(Command::new(provium).args(["host", "--", "true"]))?;
    }
    let workers = place.workers().min(tests.len());
    let host = matches!(place, Place::Emulated { .. }).then_some(provium);
    let names: Vec<String> = (0..workers).map(|index| format!("worker{index}")).collect();
    let commands = names
        .iter()
        .map(|name| worker_command(host, &share, name, selection, &binaries));
    run_workers(commands.collect::<Result<_>>()?);
    let mut finished = BTreeMap::new();
    for name in &names {
        finished.extend(Journal::read(&worker::journal_path(&share, name))?.finished);
    }
    let ids: Vec<String> = tests.iter().map(worker::Test::id).collect();
    Ok(Summary {
        place: place.to_string(),
        ..summarize(&ids, &finished)
    })
}

/// Runs the workers side by side to their ends. One that fails is reported here; what it left undone shows
/// in the journals.
fn run_workers(commands: Vec<Command>) {
    std::thread::scope(|scope| {
        for mut command in commands {
            scope.spawn(move || match status(&mut command) {
                Ok(status) if status.success() => {}
                Ok(status) => eprintln!("error: a worker ended with {status}: {}", shown(&command)),
                Err(error) => eprintln!("error: {error:#}"),
            });
        }
    });
}

/// A test nobody finished counts as failed.
fn summarize(tests: &[String], finished: &BTreeMap<String, Finished>) -> Summary {
    let mut summary = Summary::default();
    for test in tests {
        match finished.get(test).map(|finished| finished.outcome) {
            Some(Outcome::Passed) => summary.passed += 1,
            Some(Outcome::Flaky) => {
                summary.passed += 1;
                summary.flaky.push(test.clone());
            }
            Some(Outcome::Failed) => summary.failed.push(test.clone()),
            None => summary.failed.push(format!("{test} (did not run to its end)")),
        }
    }
    summary
}

fn worker_command(
    host: Option<&Path>,
    share: &Path,
    name: &str,
    selection: &Selection,
    binaries: &[PathBuf],
) -> Result<Command> {
    let this = std::env::current_exe().context("find this program")?;
    let mut command = match host {
        None => Command::new(&this),
        Some(provium) => {
            let mut command = Command::new(provium);
            command.arg("host").arg("--rw").arg(share).arg("--").arg(&this);
            command
        }
    };
    command.current_dir(workspace::root().join("tests"));
    command
        .arg("run-tests")
        .arg("--share")
        .arg(share)
        .args(["--worker", name]);
    command
        .arg(format!("--limit={}", selection.limit))
        .arg(format!("--filter={}", selection.filter));
    command.args(binaries);
    // An emulated host hands the environment on.
    if let Some((variable, times)) = selection.times {
        command.env(variable, times.to_string());
    }
    Ok(command)
}

/// Builds the tests and returns their binaries.
fn build() -> Result<Vec<PathBuf>> {
    let mut cargo = workspace::cargo();
    cargo.args([
        "test",
        "--no-run",
        "--package",
        "provium-tests",
        "--message-format=json-render-diagnostics",
    ]);
    let binaries = executables(&output(&mut cargo)?);
    ensure!(!binaries.is_empty(), "package provium-tests has no test binary");
    Ok(binaries)
}

/// The test binaries that cargo's messages name.
fn executables(messages: &str) -> Vec<PathBuf> {
    let messages = messages
        .lines()
        .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
    messages
        .filter(|message| message["profile"]["test"] == true && message["target"]["kind"][0] == "test")
        .filter_map(|message| message["executable"].as_str().map(PathBuf::from))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_did_not_run_has_failed() {
        let finished = |outcome| Finished {
            test: String::new(),
            outcome,
            seconds: 1.0,
            output: String::new(),
        };
        let journal = BTreeMap::from([
            ("a".to_owned(), finished(Outcome::Passed)),
            ("b".to_owned(), finished(Outcome::Flaky)),
            ("c".to_owned(), finished(Outcome::Failed)),
        ]);
        let summary = summarize(&["a", "b", "c", "d"].map(str::to_owned), &journal);
        assert_eq!((summary.passed, summary.flaky), (2, vec!["b".to_owned()]));
        assert_eq!(summary.failed, ["c", "d (did not run to its end)"]);
    }

    #[test]
    fn only_test_binaries_are_taken_from_cargos_messages() {
        let line = |kind: &str, test: bool| {
            format!(
                r#"{{"reason":"compiler-artifact","target":{{"kind":["{kind}"]}},"profile":{{"test":{test}}},"executable":"/t/{kind}"}}"#
            )
        };
        let messages = [
            line("test", true),
            line("lib", true),
            line("bin", false),
            "not JSON".to_owned(),
        ];
        assert_eq!(executables(&messages.join("\n")), [PathBuf::from("/t/test")]);
    }
}
