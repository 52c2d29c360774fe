//! The Lua tests of the examples, of `tests/lua/` and of the documentation, run by `provium` as a user would
//! run them.
//!
//! Input: folders with a `provium.toml`. Output: counts; a skipped test is shown and counted as neither
//! passed nor failed. Not here: the choice between the host's KVM and an emulated host, which is `provium`'s.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

use crate::host_tests::Count;
use crate::{docs_examples, workspace};

/// One line of `provium --json`, as far as it is used here.
#[derive(Debug, Deserialize)]
struct FileResult {
    path: String,
    timeout: String,
    passed: bool,
    chunk_error: Option<String>,
    duration_ns: u64,
    tests: Vec<TestResult>,
}

#[derive(Debug, Deserialize)]
struct TestResult {
    name: String,
    status: String,
    message: Option<String>,
    log: Vec<String>,
}

/// Runs every project's tests.
///
/// # Errors
/// When there is no project, or `provium` cannot be started or prints something else than results.
pub(crate) fn run(provium: &Path) -> Result<Count> {
    let projects = projects(workspace::root());
    ensure!(
        !projects.is_empty(),
        "no provium.toml below examples/ or tests/lua/"
    );
    let mut total = Count::default();
    for project in projects {
        let count = run_project(provium, &project)?;
        total.passed += count.passed;
        total.failed += count.failed;
    }
    Ok(total)
}

/// Runs the examples of the documentation.
///
/// # Errors
/// When they cannot be gathered, or `provium` cannot be started or prints something else than results.
pub(crate) fn run_documented(provium: &Path) -> Result<Count> {
    run_project(provium, &docs_examples::project()?)
}

/// Every folder with a `provium.toml` below `examples/` and `tests/lua/`.
fn projects(root: &Path) -> Vec<PathBuf> {
    let below = ["examples", "tests/lua"].map(|folder| root.join(folder));
    let entries = below
        .iter()
        .flat_map(|folder| walkdir::WalkDir::new(folder).sort_by_file_name());
    let configs = entries
        .flatten()
        .filter(|entry| entry.file_name() == "provium.toml");
    configs
        .filter_map(|entry| entry.path().parent().map(Path::to_owned))
        .collect()
}

fn run_project(provium: &Path, project: &Path) -> Result<Count> {
    println!(
        "   {}",
        project
            .strip_prefix(workspace::root())
            .unwrap_or(project)
            .display()
    );
    let mut count = run_files(provium, project, &[])?;
    // As with the other tests on guests: a second attempt, never hidden.
    if !count.failed_files.is_empty() {
        let again = std::mem::take(&mut count.failed_files);
        println!("   again: {}", again.join(", "));
        let second = run_files(provium, project, &again)?;
        if second.total.failed == 0 {
            println!("   FLAKY: {} passed on the second attempt only", again.join(", "));
            count.total.passed += count.total.failed;
            count.total.failed = 0;
        }
    }
    Ok(count.total)
}

/// What one call of `provium` came to.
struct Outcome {
    total: Count,
    failed_files: Vec<String>,
}

/// Runs these files of a project, or all of them when none are named.
fn run_files(provium: &Path, project: &Path, files: &[String]) -> Result<Outcome> {
    let mut command = Command::new(provium);
    command
        .arg("--json")
        .args(files)
        .current_dir(project)
        .stdin(Stdio::null())
        .stdout(Stdio::piped());
    let mut child = command
        .spawn()
        .with_context(|| format!("start {}", provium.display()))?;
    let output = child.stdout.take().context("provium's output")?;
    let (mut total, mut failed_files) = (Count::default(), Vec::new());
    for line in BufReader::new(output).lines() {
        let line = line.context("read provium's output")?;
        let result: FileResult =
            serde_json::from_str(&line).with_context(|| format!("not a result: {line}"))?;
        let more = counted(&result);
        total.passed += more.passed;
        total.failed += more.failed;
        print!("{}", report(&result));
        if !result.passed {
            failed_files.push(result.path);
        }
    }
    let status = child.wait().context("wait for provium")?;
    if !status.success() && total.failed == 0 {
        eprintln!("error: provium ended with {status} in {}", project.display());
        total.failed = 1;
    }
    if status.success() {
        ensure!(total.passed > 0, "no test of {} ran", project.display());
    }
    Ok(Outcome { total, failed_files })
}

/// A file that fails as a whole (its chunk, its time limit) counts as one failure.
fn counted(result: &FileResult) -> Count {
    let with = |status: &str| result.tests.iter().filter(|test| test.status == status).count();
    let (passed, failed) = (with("passed"), with("failed"));
    Count {
        passed,
        failed: if failed == 0 && !result.passed { 1 } else { failed },
    }
}

fn report(result: &FileResult) -> String {
    let mut text = String::new();
    let word = if result.passed { "PASS" } else { "FAIL" };
    let seconds = result.duration_ns as f64 / 1e9;
    text.push_str(&format!(
        "   {word:<5} {seconds:>6.1} s  {} ({} tests)\n",
        result.path,
        result.tests.len()
    ));
    if result.timeout != "in_time" {
        text.push_str("      | the file ran into its time limit\n");
    }
    for line in result.chunk_error.iter().flat_map(|error| error.lines()) {
        text.push_str(&format!("      | {line}\n"));
    }
    for test in result.tests.iter().filter(|test| test.status != "passed") {
        text.push_str(&format!("      {} {}\n", test.status, test.name));
        let lines = test.message.iter().chain(&test.log).flat_map(|text| text.lines());
        for line in lines {
            text.push_str(&format!("      | {line}\n"));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    const FAILED: &str = r#"{"path":"a.test.lua","timeout":"in_time","passed":false,"chunk_error":null,"duration_ns":1500000000,
        "tests":[{"name":"one","status":"passed","message":null,"log":[],"duration_ns":1,"line":1},
                 {"name":"two","status":"failed","message":"no\nway","log":["said"],"duration_ns":1,"line":2},
                 {"name":"three","status":"skipped","message":"later","log":[],"duration_ns":1,"line":3}]}"#;

    #[test]
    fn counts_and_reasons_come_from_the_results() {
        let result: FileResult = serde_json::from_str(FAILED).unwrap();
        assert_eq!(counted(&result), Count { passed: 1, failed: 1 });
        let text = report(&result);
        assert_eq!(
            text,
            "   FAIL     1.5 s  a.test.lua (3 tests)\n      failed two\n      | no\n      | way\n      | said\n      \
             skipped three\n      | later\n"
        );
    }

    #[test]
    fn a_file_that_fails_as_a_whole_is_a_failure() {
        let broken = r#"{"path":"b","timeout":"timed_out","passed":false,"chunk_error":"b:1: oh","duration_ns":0,"tests":[]}"#;
        let result: FileResult = serde_json::from_str(broken).unwrap();
        assert_eq!(counted(&result), Count { passed: 0, failed: 1 });
        assert!(report(&result).contains("time limit") && report(&result).contains("b:1: oh"));
    }

    #[test]
    fn projects_are_found_where_users_would_put_them() {
        let root = tempfile::tempdir().unwrap();
        for folder in ["examples/hello", "tests/lua", "target/examples"] {
            std::fs::create_dir_all(root.path().join(folder)).unwrap();
            std::fs::write(root.path().join(folder).join("provium.toml"), "").unwrap();
        }
        let found = projects(root.path());
        assert_eq!(
            found,
            ["examples/hello", "tests/lua"].map(|folder| root.path().join(folder))
        );
    }
}
