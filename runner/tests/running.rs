//! Flags that say how tests are run, by the built command, where no guest is needed.

mod support;

use std::fs;
use std::os::unix::fs::PermissionsExt;

use provium_base::outcome::{FileResult, TestResult, TestStatus};

use support::{finished, project, provium, run};

#[test]
fn as_many_files_run_at_a_time_as_jobs_says() {
    let waits = |own: &str, other: &str| {
        format!(
            "test('meets', function(t)\n  io.open('{own}', 'w'):close()\n\
             while not io.open('{other}') do os.execute('sleep 0.02') end\nend)\n"
        )
    };
    let dir = project(&[("a.test.lua", &waits("a", "b")), ("b.test.lua", &waits("b", "a"))]);
    assert_eq!(run(&dir, &["--jobs", "2", "--timeout", "60s"]).code, Some(0));
    for mark in ["a", "b"] {
        fs::remove_file(dir.path().join(mark)).expect("the mark");
    }
    let ran = run(&dir, &["-j1", "--timeout", "1s"]);
    assert!(
        ran.code == Some(1) && ran.stdout.contains("TIME a.test.lua"),
        "{}",
        ran.stdout
    );
}

#[test]
fn claims_share_what_the_flags_say() {
    let dir = project(&[
        (
            "mem.test.lua",
            "provium:claim{memory = '2G'}\ntest('has it', function() end)\n",
        ),
        (
            "cpus.test.lua",
            "provium:claim{cpus = 3}\ntest('has it', function() end)\n",
        ),
    ]);
    for (args, code, what) in [
        (["mem.test.lua", "--mem", "1G", "--cpus=1"], 1, "1G of memory"),
        (["mem.test.lua", "--mem", "3G", "--cpus=1"], 0, "PASS"),
        (["cpus.test.lua", "--cpus", "1", "--cpu-overcommit=2"], 1, "2"),
        (["cpus.test.lua", "--cpus", "2", "--cpu-overcommit=2"], 0, "PASS"),
        (["cpus.test.lua", "--cpus", "1", "--cpu-overcommit=3"], 0, "PASS"),
    ] {
        let ran = run(&dir, &args);
        assert_eq!(ran.code, Some(code), "{args:?}: {}", ran.stdout);
        assert!(ran.stdout.contains(what), "{args:?}: {}", ran.stdout);
    }
}

/// What the emulated host's QEMU says here.
const HOST_THAT_ENDS: &str = "QEMU that ends";

/// A project with a profile, and a `PATH` on which all that an emulated host needs is there, but for a QEMU
/// that notes its arguments and ends.
fn with_a_host_that_ends() -> (tempfile::TempDir, String) {
    let toml = "[profiles.p]\nkernel = 'provium.toml'\ncmdline = 'quiet'\nbuild = 'echo built it'\n";
    // It may write nothing but what is shared for that, so it says what it is given.
    let qemu = "#!/bin/sh\necho \"$*\" | grep -o -e '-smp [0-9]*' -e '-m [0-9]*M' >&2\necho QEMU that ends >&2\nexit 7\n";
    let dir = project(&[
        ("provium.toml", toml),
        ("a.test.lua", "test('x', function() end)\n"),
        ("base.fixture.lua", "return nil\n"),
        ("bin/qemu-system-x86_64", qemu),
    ]);
    let program = dir.path().join("bin/qemu-system-x86_64");
    fs::set_permissions(program, fs::Permissions::from_mode(0o755)).expect("it is ours");
    let path = std::env::var("PATH").unwrap_or_default();
    let path = format!("{}:{path}", dir.path().join("bin").display());
    (dir, path)
}

#[test]
fn every_command_that_runs_guests_goes_where_accel_says() {
    let (dir, path) = with_a_host_that_ends();
    for words in [
        &[][..],
        &["fixture", "list"],
        &["fixture", "stale"],
        &["fixture", "why"],
        &["fixture", "build"],
        &["fixture", "rebuild"],
        &["run"],
    ] {
        let args = [words, &["--accel", "tcg"]].concat();
        let mut command = provium(dir.path(), &args);
        let ran = finished(command.env("PATH", &path).output().expect("the command starts"));
        let code = if words == ["run"] { 125 } else { 2 };
        assert_eq!(ran.code, Some(code), "{args:?}: {ran:?}");
        assert!(
            ran.stderr.contains(HOST_THAT_ENDS),
            "{args:?}: no host was started: {ran:?}"
        );
    }
}

#[test]
fn tests_that_boot_nothing_start_no_emulated_host() {
    let (dir, path) = with_a_host_that_ends();
    let mut command = provium(dir.path(), &["a.test.lua"]);
    let ran = finished(command.env("PATH", &path).output().expect("the command starts"));
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert!(!ran.stderr.contains(HOST_THAT_ENDS), "{ran:?}");
}

#[test]
fn a_fixtures_build_shows_what_profiles_builds_print() {
    let (dir, path) = with_a_host_that_ends();
    for command in ["build", "rebuild"] {
        for (flags, shown) in [(&[][..], false), (&["--verbose"], true)] {
            let args = [&["fixture", command, "--accel", "tcg"], flags].concat();
            let mut command = provium(dir.path(), &args);
            let ran = finished(command.env("PATH", &path).output().expect("the command starts"));
            assert_eq!(ran.stderr.contains("\nbuilt it\n"), shown, "{ran:?}");
        }
    }
}

#[test]
fn an_emulated_host_has_the_memory_and_cpus_of_the_flags() {
    let (dir, path) = with_a_host_that_ends();
    let mut command = provium(dir.path(), &["host", "--mem", "777", "--cpus", "3", "--", "true"]);
    let ran = finished(command.env("PATH", &path).output().expect("the command starts"));
    assert_eq!(ran.code, Some(2), "{ran:?}");
    let given = ["-smp 3\n", "-m 777M\n"];
    assert!(given.iter().all(|given| ran.stderr.contains(given)), "{ran:?}");
}

/// A test that counts its runs in the file `runs` and passes in those.
fn counts(passes: &str) -> String {
    format!(
        "runs = 0\ntest('counts', function(t)\n  runs = runs + 1\n  io.open('runs', 'a'):write('x'):close()\n  \
         t:assert({passes}, 'run ' .. runs)\nend)\n"
    )
}

/// Runs `counts.test.lua`; returns how often the test ran, and its result.
fn counted(passes: &str, args: &[&str]) -> (usize, TestResult) {
    let dir = project(&[("counts.test.lua", &counts(passes))]);
    let ran = run(&dir, &[&["--json"], args].concat());
    let file: FileResult =
        serde_json::from_str(ran.stdout.trim()).unwrap_or_else(|error| panic!("{error}: {ran:?}"));
    let runs = fs::read_to_string(dir.path().join("runs")).expect("it ran");
    (runs.len(), file.tests.into_iter().next().expect("its result"))
}

#[test]
fn a_failed_test_is_tried_again_as_often_as_retries_says() {
    let (runs, test) = counted("runs == 3", &["--retries", "2"]);
    assert_eq!(
        (runs, test.status, test.flaky, test.attempts),
        (3, TestStatus::Passed, true, 3)
    );
    let (runs, test) = counted("runs == 3", &["--retries", "1"]);
    assert_eq!((runs, test.status), (2, TestStatus::Failed));
    // A test knows better.
    let source =
        "local runs = 0\ntest('x', {retries = 0}, function(t) runs = runs + 1 t:assert(runs == 2) end)\n";
    let dir = project(&[("a.test.lua", source)]);
    assert_eq!(run(&dir, &["--retries", "5"]).code, Some(1));
}

#[test]
fn tests_are_repeated_in_rounds() {
    let (runs, test) = counted("true", &["--repeat", "5"]);
    assert_eq!((runs, test.status, test.attempts), (5, TestStatus::Passed, 5));
    let (runs, test) = counted("runs % 2 == 1", &["--repeat", "5"]);
    assert_eq!((runs, test.status), (5, TestStatus::Failed));
    let message = test.message.unwrap_or_default();
    assert!(
        message.starts_with("failed in 2 of 5 rounds, first in round 2: "),
        "{message}"
    );
    assert!(message.contains("run 2"), "{message}");
    // All tests of a file are in a round.
    let source = "test('a', function() io.open('order', 'a'):write('a'):close() end)\n\
                  test('b', function() io.open('order', 'a'):write('b'):close() end)\n";
    let dir = project(&[("a.test.lua", source)]);
    assert_eq!(run(&dir, &["--repeat", "3"]).code, Some(0));
    assert_eq!(
        fs::read_to_string(dir.path().join("order")).expect("it ran"),
        "ababab"
    );
}

#[test]
fn until_fail_goes_on_until_a_test_fails() {
    let (runs, test) = counted("runs < 40", &["--until-fail"]);
    assert_eq!((runs, test.status), (40, TestStatus::Failed));
    let message = test.message.unwrap_or_default();
    assert!(
        message.starts_with("failed in 1 of 40 rounds, first in round 40: "),
        "{message}"
    );
    let (runs, test) = counted("runs < 40", &["--until-fail", "--repeat", "10"]);
    assert_eq!((runs, test.status), (10, TestStatus::Passed));
    // The time limit that one gives is one for all rounds.
    let dir = project(&[("a.test.lua", "test('x', function() end)\n")]);
    let ran = run(&dir, &["--until-fail", "--timeout", "500ms"]);
    assert!(
        ran.code == Some(1) && ran.stdout.contains("TIME a.test.lua"),
        "{}",
        ran.stdout
    );
}

#[test]
fn a_run_ends_at_the_failure_that_maxfail_says() {
    let source = "for i = 1, 4 do test('t' .. i, function(t) t:fail('no') end) end\n";
    let dir = project(&[("a.test.lua", source), ("b.test.lua", source)]);
    let ran = run(&dir, &["-j1", "--maxfail", "3"]);
    assert_eq!(ran.code, Some(1));
    assert!(
        ran.stdout.contains("stopped after 3 failures: "),
        "{}",
        ran.stdout
    );
    assert!(
        ran.stdout.contains("; 0 passed, 3 failed, 0 skipped"),
        "{}",
        ran.stdout
    );
    let ran = run(&dir, &["-j1", "--maxfail", "6"]);
    assert!(
        ran.stdout.contains("2 file(s); 0 passed, 6 failed"),
        "{}",
        ran.stdout
    );
    let both = run(&dir, &["--maxfail", "3", "--fail-fast"]);
    assert!(
        both.code == Some(2) && both.stderr.contains("cannot be used with"),
        "{}",
        both.stderr
    );
}

#[test]
fn the_slowest_tests_are_named_at_the_end() {
    let source = "test('slow', function() os.execute('sleep 0.3') end)\n\
                  test('fast', function() end)\n\
                  test('medium', function() os.execute('sleep 0.1') end)\n";
    let dir = project(&[("a.test.lua", source)]);
    let ran = run(&dir, &["--durations", "2"]);
    let lines: Vec<_> = ran
        .stdout
        .lines()
        .skip_while(|line| *line != "slowest:")
        .collect();
    assert_eq!(lines.len(), 4, "{}", ran.stdout);
    assert!(
        lines[1].ends_with("a.test.lua::slow") && lines[2].ends_with("a.test.lua::medium"),
        "{lines:?}"
    );
    let json = run(&dir, &["--durations", "1", "--json"]);
    assert!(
        json.stderr.contains("slowest:\n") && json.stdout.lines().count() == 1,
        "{json:?}"
    );
}

#[test]
fn a_matrix_takes_no_report_that_is_of_one_run() {
    let toml = "[profiles.p]\nkernel = 'a'\ncmdline = 'quiet'\n";
    let dir = project(&[("provium.toml", toml), ("a", ""), ("b", ""), ("a.test.lua", "")]);
    for report in ["--junit=x", "--tap", "--ktap", "--events-stdout", "--coverage"] {
        let ran = run(&dir, &["--matrix", "kernel=a,b", report]);
        assert_eq!((ran.code, ran.stdout.as_str()), (Some(2), ""), "{report}");
        assert!(
            ran.stderr.contains("--matrix has a report of its own"),
            "{report}: {}",
            ran.stderr
        );
    }
}
