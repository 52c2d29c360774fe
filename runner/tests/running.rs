//! Flags that say how tests are run, by the built command, where no guest is needed.

mod support;

use std::fs;
use std::os::unix::fs::PermissionsExt;

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

/// A project with a profile, and a `PATH` on which all that an emulated host needs is there, but for a QEMU
/// that notes its arguments and ends.
fn with_a_host_that_ends() -> (tempfile::TempDir, String) {
    let toml = "[profiles.p]\nkernel = 'provium.toml'\ncmdline = 'quiet'\nbuild = 'echo built it'\n";
    let qemu =
        "#!/bin/sh\n[ \"$1\" = --version ] || echo \"$@\" >> arguments\necho QEMU that ends >&2\nexit 7\n";
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
    ] {
        let args = [words, &["--accel", "tcg"]].concat();
        let mut command = provium(dir.path(), &args);
        let ran = finished(command.env("PATH", &path).output().expect("the command starts"));
        assert_eq!(ran.code, Some(2), "{args:?}: {ran:?}");
        let arguments = dir.path().join("arguments");
        fs::remove_file(&arguments)
            .unwrap_or_else(|error| panic!("{args:?}: no host was started: {error}; {ran:?}"));
    }
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
    let arguments =
        fs::read_to_string(dir.path().join("arguments")).unwrap_or_else(|error| panic!("{error}: {ran:?}"));
    assert!(
        arguments.contains("-smp 3 ") && arguments.contains("-m 777M "),
        "{arguments}"
    );
}
