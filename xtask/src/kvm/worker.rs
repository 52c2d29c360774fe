//! The hidden subcommand `run-tests`: runs KVM tests one after the other, on the host's KVM or inside an
//! emulated host.
//!
//! Input: test binaries and a folder shared with the other workers. Output: a journal, and one line a test on
//! stdout. Workers take tests from one list by creating a claim file each, so that a long test holds up only
//! its own worker. Started again after a freeze, a worker goes on where its journal stops.

use std::fs::File;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use clap::Args;

use super::journal::{Finished, Journal, Outcome, Record, Writer};
use super::process;
use crate::command::output;

/// How often a test may be under way when its host dies before it counts as the cause.
const DEATHS: usize = 3;

#[derive(Debug, Args)]
pub(crate) struct WorkerArguments {
    /// The folder with journals and claims
    #[arg(long, value_name = "DIR")]
    pub(crate) share: PathBuf,
    /// This worker's name: its journal is SHARE/NAME.jsonl
    #[arg(long, value_name = "NAME")]
    pub(crate) worker: String,
    /// Seconds one attempt at a test may take
    #[arg(long, value_name = "S", default_value_t = 240)]
    pub(crate) limit: u64,
    /// Only tests whose name, with the binary's, contains this
    #[arg(long, value_name = "TEXT", default_value = "")]
    pub(crate) filter: String,
    /// Test binaries
    #[arg(value_name = "BIN", required = true)]
    pub(crate) binaries: Vec<PathBuf>,
}

/// A test and the binary it is in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Test {
    binary: PathBuf,
    /// As the binary names it.
    name: String,
}

impl Test {
    /// `binary::test`, the name in journals and reports.
    pub(crate) fn id(&self) -> String {
        let stem = self.binary.file_stem().unwrap_or_default().to_string_lossy();
        // cargo adds a hash: `leaks-3f1c0a9b7d2e4a55`.
        let stem = stem.rsplit_once('-').map_or(stem.as_ref(), |(name, _)| name);
        format!("{stem}::{}", self.name)
    }
}

/// Every test of the binaries, in their order.
///
/// # Errors
/// When a binary cannot list its tests.
pub(crate) fn list(binaries: &[PathBuf], filter: &str) -> Result<Vec<Test>> {
    let mut tests = Vec::new();
    for binary in binaries {
        let listed = output(Command::new(binary).args(["--list", "--format", "terse"]))?;
        let names = listed.lines().filter_map(|line| line.strip_suffix(": test"));
        tests.extend(names.map(|name| Test {
            binary: binary.clone(),
            name: name.to_owned(),
        }));
    }
    tests.retain(|test| test.id().contains(filter));
    Ok(tests)
}

/// Runs what is left to run.
///
/// # Errors
/// When a binary cannot be started or the shared folder cannot be written; a failed test is none.
pub(crate) fn work(arguments: &WorkerArguments) -> Result<()> {
    let tests = list(&arguments.binaries, &arguments.filter)?;
    let path = journal_path(&arguments.share, &arguments.worker);
    let journal = Journal::read(&path)?;
    let mut writer = Writer::open(&path)?;
    let limit = Duration::from_secs(arguments.limit);

    // What this worker had begun when its host died comes first: nobody else will take it.
    let is_begun = |test: &&Test| journal.interrupted.contains_key(&test.id());
    for test in tests.iter().filter(is_begun) {
        let deaths = journal.interrupted[&test.id()];
        let finished = if deaths < DEATHS {
            run(test, limit, &mut writer)?
        } else {
            let output = format!("the machine died {deaths} times while this test ran\n");
            Finished {
                test: test.id(),
                outcome: Outcome::Failed,
                seconds: 0.0,
                output,
            }
        };
        conclude(&mut writer, finished)?;
    }
    for test in tests
        .iter()
        .filter(|test| !journal.finished.contains_key(&test.id()))
    {
        if !is_begun(&test) && claim(&arguments.share, test)? {
            let finished = run(test, limit, &mut writer)?;
            conclude(&mut writer, finished)?;
        }
    }
    Ok(())
}

/// Where worker `name` keeps its journal.
pub(crate) fn journal_path(share: &Path, name: &str) -> PathBuf {
    share.join(format!("{name}.jsonl"))
}

/// Whether the test is now this worker's.
fn claim(share: &Path, test: &Test) -> Result<bool> {
    let path = share.join(format!("{}.claim", test.id().replace("::", ".")));
    match File::create_new(&path) {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(false),
        Err(error) => Err(error).with_context(|| format!("create {}", path.display())),
    }
}

/// Up to two attempts; the second is never hidden.
fn run(test: &Test, limit: Duration, writer: &mut Writer) -> Result<Finished> {
    writer.write(&Record::Started { test: test.id() })?;
    let begin = Instant::now();
    let first = process::attempt(&test.binary, &test.name, limit)?;
    let (outcome, output) = if first.passed {
        (Outcome::Passed, String::new())
    } else {
        let second = process::attempt(&test.binary, &test.name, limit)?;
        match second.passed {
            true => (Outcome::Flaky, first.output),
            false => (
                Outcome::Failed,
                format!("{}\n-- second attempt --\n{}", first.output, second.output),
            ),
        }
    };
    Ok(Finished {
        test: test.id(),
        outcome,
        seconds: begin.elapsed().as_secs_f64(),
        output,
    })
}

fn conclude(writer: &mut Writer, finished: Finished) -> Result<()> {
    print!("{}", report(&finished));
    writer.write(&Record::Finished(finished))
}

/// One line, and below it what failed attempts printed.
fn report(finished: &Finished) -> String {
    let word = match finished.outcome {
        Outcome::Passed => "PASS",
        Outcome::Flaky => "FLAKY",
        Outcome::Failed => "FAIL",
    };
    let mut text = format!("   {word:<5} {:>6.1} s  {}\n", finished.seconds, finished.test);
    for line in finished.output.lines() {
        text.push_str(&format!("      | {line}\n"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A stand-in for a libtest binary: lists `a` and `b`; `b` fails until `folder/ok` exists.
    fn binary(folder: &Path) -> PathBuf {
        use std::os::unix::fs::PermissionsExt;
        let path = folder.join("boot-0123456789abcdef");
        let script = format!(
            "#!/bin/sh\nif [ \"$1\" = --list ]; then printf 'a: test\\nb: test\\nbench: benchmark\\n'; exit; fi\n\
             echo \"$2\" >>{0}/ran\n\
             [ \"$2\" = b ] && [ ! -e {0}/ok ] && {{ touch {0}/ok; echo not yet; exit 101; }}\n\
             echo 'test result: ok. 1 passed; 0 failed'\n",
            folder.display()
        );
        std::fs::write(&path, script).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        path
    }

    fn arguments(folder: &Path, worker: &str) -> WorkerArguments {
        let (share, binaries) = (folder.join("share"), vec![binary(folder)]);
        std::fs::create_dir_all(&share).unwrap();
        WorkerArguments {
            share,
            worker: worker.to_owned(),
            limit: 60,
            filter: String::new(),
            binaries,
        }
    }

    fn ran(folder: &Path) -> String {
        std::fs::read_to_string(folder.join("ran")).unwrap_or_default()
    }

    #[test]
    fn each_test_runs_once_and_a_second_attempt_is_called_flaky() {
        let folder = tempfile::tempdir().unwrap();
        let arguments = arguments(folder.path(), "one");
        work(&arguments).unwrap();
        let journal = Journal::read(&journal_path(&arguments.share, "one")).unwrap();
        let outcome = |test: &str| journal.finished[test].outcome;
        assert_eq!(
            (outcome("boot::a"), outcome("boot::b")),
            (Outcome::Passed, Outcome::Flaky)
        );
        assert!(journal.finished["boot::b"].output.contains("not yet"));
        assert_eq!(ran(folder.path()), "a\nb\nb\n");
        // Nothing is left for another worker, nor for this one started again.
        work(&arguments).unwrap();
        work(&WorkerArguments {
            worker: "two".to_owned(),
            ..arguments
        })
        .unwrap();
        assert_eq!(ran(folder.path()), "a\nb\nb\n");
    }

    #[test]
    fn a_worker_started_again_goes_on_with_what_it_had_begun() {
        let folder = tempfile::tempdir().unwrap();
        let arguments = arguments(folder.path(), "one");
        let path = journal_path(&arguments.share, "one");
        let test = &list(&arguments.binaries, "").unwrap()[0];
        assert!(claim(&arguments.share, test).unwrap());
        Writer::open(&path)
            .unwrap()
            .write(&Record::Started {
                test: "boot::a".to_owned(),
            })
            .unwrap();
        work(&arguments).unwrap();
        let journal = Journal::read(&path).unwrap();
        assert_eq!((journal.finished.len(), journal.interrupted.len()), (2, 0));
        assert_eq!(ran(folder.path()).lines().next(), Some("a"));
    }

    #[test]
    fn a_test_that_keeps_killing_its_machine_fails_without_running_again() {
        let folder = tempfile::tempdir().unwrap();
        let arguments = arguments(folder.path(), "one");
        let path = journal_path(&arguments.share, "one");
        let mut writer = Writer::open(&path).unwrap();
        for _ in 0..DEATHS {
            writer
                .write(&Record::Started {
                    test: "boot::a".to_owned(),
                })
                .unwrap();
        }
        work(&arguments).unwrap();
        let journal = Journal::read(&path).unwrap();
        assert_eq!(journal.finished["boot::a"].outcome, Outcome::Failed);
        assert!(journal.finished["boot::a"].output.contains("died 3 times"));
        assert!(!ran(folder.path()).contains('a'));
    }

    #[test]
    fn the_filter_sees_the_binarys_name_too() {
        let folder = tempfile::tempdir().unwrap();
        let binaries = [binary(folder.path())];
        let ids = |filter| {
            list(&binaries, filter)
                .unwrap()
                .iter()
                .map(Test::id)
                .collect::<Vec<_>>()
        };
        assert_eq!(ids(""), ["boot::a", "boot::b"]);
        assert_eq!(ids("boot::b"), ["boot::b"]);
        assert!(ids("bench").is_empty());
    }

    #[test]
    fn failed_output_stands_below_its_test() {
        let (test, output) = ("x::y".to_owned(), "one\ntwo\n".to_owned());
        let finished = Finished {
            test,
            outcome: Outcome::Failed,
            seconds: 12.34,
            output,
        };
        assert_eq!(
            report(&finished),
            "   FAIL    12.3 s  x::y\n      | one\n      | two\n"
        );
    }
}
