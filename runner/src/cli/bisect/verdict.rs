//! What a run of tests says of a commit.
//!
//! Input: the run's exit code and results. Output: a [`Verdict`] with its reason in a line, and the exit code
//! that `git bisect run` takes it from. Not here: the run.

use provium_base::exit;
use provium_base::outcome::{FileResult, TestResult, TestStatus};
use provium_guest::says_no_boot;
use serde::{Deserialize, Serialize};

use crate::cli::args::BootFailure;

/// What a commit is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Verdict {
    /// The tests pass.
    Good,
    /// A test fails.
    Bad,
    /// It cannot be told.
    Skip,
}

/// A verdict and why it is that.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Judged {
    /// The verdict.
    pub(super) verdict: Verdict,
    /// The reason, in one line.
    pub(super) why: String,
}

/// Exit code for a harness that could not do its work: `git bisect run` stops at 128 and above, and takes
/// what is below, 125 apart, for a bad commit.
pub(super) const BROKEN: u8 = 128;

impl Verdict {
    /// The exit code of a step.
    pub(super) fn code(self) -> u8 {
        match self {
            Verdict::Good => 0,
            Verdict::Bad => 1,
            Verdict::Skip => 125,
        }
    }

    /// The subcommand of `git bisect` that says it.
    pub(super) fn word(self) -> &'static str {
        match self {
            Verdict::Good => "good",
            Verdict::Bad => "bad",
            Verdict::Skip => "skip",
        }
    }
}

impl Judged {
    /// Nothing can be told of the commit, for this reason.
    pub(super) fn skip(why: &str) -> Judged {
        Judged {
            verdict: Verdict::Skip,
            why: first_line(why),
        }
    }

    /// What a run with this exit code says; `None` where it was interrupted or could not be carried out.
    pub(super) fn of_run(code: u8, results: &[FileResult], boot_failure: BootFailure) -> Option<Judged> {
        match code {
            exit::SUCCESS => Some(passed(results)),
            exit::FAILED => Some(failed(results, boot_failure)),
            _ => None,
        }
    }
}

fn passed(results: &[FileResult]) -> Judged {
    let tests = || results.iter().flat_map(|file| &file.tests);
    let ran = |test: &&TestResult| matches!(test.status, TestStatus::Passed | TestStatus::Xfailed);
    match tests().filter(ran).count() {
        0 => Judged::skip("no test ran: all were skipped"),
        count => Judged {
            verdict: Verdict::Good,
            why: format!("{count} passed"),
        },
    }
}

fn failed(results: &[FileResult], boot_failure: BootFailure) -> Judged {
    let failures: Vec<(String, &str)> = results.iter().flat_map(failures).collect();
    let no_boot = !failures.is_empty() && failures.iter().all(|(_, message)| says_no_boot(message));
    let why = match failures.first() {
        Some((name, message)) => first_line(&format!("{name}: {message}")),
        None => "a file failed".to_owned(),
    };
    let verdict = match (no_boot, boot_failure) {
        (true, BootFailure::Skip) => Verdict::Skip,
        _ => Verdict::Bad,
    };
    Judged { verdict, why }
}

/// What failed in a file, each with its message.
fn failures(file: &FileResult) -> impl Iterator<Item = (String, &str)> {
    let tests = file
        .tests
        .iter()
        .filter(|test| test.status.counts_against_the_run());
    let tests = tests.map(|test| (test.name.clone(), test.message.as_deref().unwrap_or("failed")));
    let own = file.chunk_error.as_deref();
    tests.chain(own.map(|error| (file.path.clone(), error)))
}

/// The first line of a text, as part of a line.
fn first_line(text: &str) -> String {
    crate::cli::print::in_line(text.lines().next().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples;

    fn file(tests: Vec<TestResult>, chunk_error: Option<&str>) -> FileResult {
        FileResult {
            tests,
            passed: false,
            chunk_error: chunk_error.map(str::to_owned),
            ..FileResult::new("a.test.lua")
        }
    }

    fn judged(code: u8, of: &FileResult, boot_failure: BootFailure) -> Option<(Verdict, String)> {
        let judged = Judged::of_run(code, std::slice::from_ref(of), boot_failure)?;
        Some((judged.verdict, judged.why))
    }

    #[test]
    fn each_end_of_a_run_has_its_verdict_and_each_verdict_its_exit_code() {
        let test = |status, message| samples::test("reads", status, message);
        let passes = file(vec![test(TestStatus::Passed, None)], None);
        let fails = file(vec![test(TestStatus::Failed, Some("got 1\nmore"))], None);
        let skips = file(vec![test(TestStatus::Skipped, Some("no disk"))], None);
        for of in [BootFailure::Bad, BootFailure::Skip] {
            assert_eq!(
                judged(exit::SUCCESS, &passes, of),
                Some((Verdict::Good, "1 passed".to_owned()))
            );
            assert_eq!(
                judged(exit::FAILED, &fails, of),
                Some((Verdict::Bad, "reads: got 1".to_owned()))
            );
            let skipped = judged(exit::SUCCESS, &skips, of).expect("a verdict");
            assert_eq!(skipped.0, Verdict::Skip, "{}", skipped.1);
            assert_eq!(judged(exit::HARNESS, &fails, of), None);
            assert_eq!(judged(exit::INTERRUPTED, &fails, of), None);
        }
        let codes = [Verdict::Good, Verdict::Bad, Verdict::Skip].map(Verdict::code);
        assert_eq!(codes, [0, 1, 125]);
    }

    #[test]
    fn a_guest_that_does_not_boot_is_what_the_user_says() {
        let message = "vm:boot: VM `g` did not boot: the guest ended before its agent answered: panic";
        let in_test = file(
            vec![samples::test("reads", TestStatus::Failed, Some(message))],
            None,
        );
        let in_code = file(Vec::new(), Some(message));
        for of in [&in_test, &in_code] {
            let verdict = |boot_failure| judged(exit::FAILED, of, boot_failure).expect("a verdict").0;
            assert_eq!(verdict(BootFailure::Bad), Verdict::Bad);
            assert_eq!(verdict(BootFailure::Skip), Verdict::Skip);
        }
        // Another test has failed in a guest that booted.
        let both = file(
            vec![
                samples::test("reads", TestStatus::Failed, Some(message)),
                samples::test("writes", TestStatus::Failed, Some("got 1")),
            ],
            None,
        );
        assert_eq!(
            judged(exit::FAILED, &both, BootFailure::Skip)
                .expect("a verdict")
                .0,
            Verdict::Bad
        );
    }
}
