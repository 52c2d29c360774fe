//! The tests that need no guest: unit tests and doctests of every crate but `provium-tests`.
//!
//! Input: the workspace. Output: how many passed and failed, counted from libtest's own last lines; tests
//! that pass are not printed, everything else is.

use std::io::{BufRead, BufReader};
use std::process::Stdio;

use anyhow::{Context, Result};

use crate::workspace;

/// Passed and failed tests.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Count {
    pub(crate) passed: usize,
    pub(crate) failed: usize,
}

/// Builds and runs them all, whatever fails on the way.
///
/// # Errors
/// When cargo cannot be started. A crate that does not compile counts as one failure.
pub(crate) fn run() -> Result<Count> {
    let mut cargo = workspace::cargo();
    cargo.args([
        "test",
        "--workspace",
        "--exclude",
        "provium-tests",
        "--no-fail-fast",
    ]);
    let mut child = cargo
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .context("start cargo")?;
    let output = child.stdout.take().context("cargo's output")?;
    let mut count = Count::default();
    for line in BufReader::new(output).lines() {
        let line = line.context("read cargo's output")?;
        if let Some(more) = result_line(&line) {
            count.passed += more.passed;
            count.failed += more.failed;
        }
        if !is_noise(&line) {
            println!("   {line}");
        }
    }
    let status = child.wait().context("wait for cargo")?;
    if !status.success() && count.failed == 0 {
        eprintln!("error: cargo test ended with {status}");
        count.failed = 1;
    }
    Ok(count)
}

/// The numbers of `test result: ok. 12 passed; 0 failed; …`.
fn result_line(line: &str) -> Option<Count> {
    let numbers = line.strip_prefix("test result: ")?.split_once(". ")?.1;
    let number = |word: &str| {
        let part = numbers
            .split(';')
            .map(str::trim)
            .find_map(|part| part.strip_suffix(word))?;
        part.trim().parse().ok()
    };
    Some(Count {
        passed: number("passed")?,
        failed: number("failed")?,
    })
}

fn is_noise(line: &str) -> bool {
    let running = line.starts_with("running ") && (line.ends_with(" tests") || line.ends_with(" test"));
    let empty = result_line(line).is_some_and(|count| count == Count::default());
    line.is_empty() || running || empty || (line.starts_with("test ") && line.ends_with(" ... ok"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn result_lines_are_counted() {
        let ok =
            "test result: ok. 12 passed; 0 failed; 1 ignored; 0 measured; 3 filtered out; finished in 0.01s";
        assert_eq!(
            result_line(ok),
            Some(Count {
                passed: 12,
                failed: 0
            })
        );
        let bad =
            "test result: FAILED. 7 passed; 2 failed; 0 ignored; 0 measured; 0 filtered out; finished in 1s";
        assert_eq!(result_line(bad), Some(Count { passed: 7, failed: 2 }));
        assert_eq!(result_line("test result of something: 3 passed"), None);
    }

    #[test]
    fn only_what_tells_something_is_shown() {
        for line in ["", "running 3 tests", "running 1 test", "test a::b ... ok"] {
            assert!(is_noise(line), "{line}");
        }
        for line in [
            "test a::b ... FAILED",
            "test a::b ... ignored",
            "running wild",
            "thread 'x' panicked",
        ] {
            assert!(!is_noise(line), "{line}");
        }
    }
}
