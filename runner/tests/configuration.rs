//! What `provium.toml`, presets and the environment say, as the built command obeys it.

mod support;

use support::{Ran, finished, project, provium, run};

/// A test that passes when it is tried again.
const FLAKY: &str = "local runs = 0\ntest('flaky', function(t) runs = runs + 1 t:assert(runs == 2) end)\n";
/// Commands that are about a project, and what they need to do something.
const COMMANDS: [&[&str]; 8] = [
    &[],
    &["list"],
    &["fixture", "list"],
    &["fixture", "build"],
    &["fixture", "rebuild"],
    &["fixture", "stale"],
    &["fixture", "why"],
    &["fixture", "clean"],
];

fn run_with(dir: &tempfile::TempDir, args: &[&str], variable: (&str, &str)) -> Ran {
    let mut command = provium(dir.path(), args);
    finished(
        command
            .env(variable.0, variable.1)
            .output()
            .expect("the command starts"),
    )
}

#[test]
fn flags_have_values_in_the_file_which_the_command_line_overrules() {
    let toml = "[provium]\ntag = ['a', 'b']\n";
    let dir = project(&[
        ("provium.toml", toml),
        ("sub/a.test.lua", FLAKY),
        ("sub/b.test.lua", ""),
    ]);
    let sub = dir.path().join("sub");
    let plain = |args: &[&str]| finished(provium(&sub, args).output().expect("the command starts"));
    let ran = plain(&[]);
    assert!(
        ran.stderr.contains("--tag a --tag b"),
        "tags hold: {}",
        ran.stderr
    );
    let ran = plain(&["--tag", "none"]);
    assert!(ran.stderr.contains("--tag none"), "{}", ran.stderr);

    let dir = project(&[
        (
            "provium.toml",
            "[provium]\nretries = 1\ndurations = 1\nartifacts = 'kept'\nfail_fast = true\n",
        ),
        ("sub/a.test.lua", FLAKY),
        (
            "sub/b.test.lua",
            "test('x', function(t) t:fail('no') end)\ntest('y', function(t) t:fail('no') end)\n",
        ),
    ]);
    let sub = dir.path().join("sub");
    let plain = |args: &[&str]| finished(provium(&sub, args).output().expect("the command starts"));
    let ran = plain(&["a.test.lua"]);
    assert!(
        ran.code == Some(0) && ran.stdout.contains("1 flaky") && ran.stdout.contains("slowest:"),
        "{}",
        ran.stdout
    );
    assert_eq!(plain(&["a.test.lua", "--retries", "0"]).code, Some(1));
    // A path starts at the file's folder; a switch that is on gives way to a flag that excludes it.
    let ran = plain(&["b.test.lua"]);
    assert!(
        ran.stdout.contains("; 0 passed, 1 failed") && dir.path().join("kept").is_dir(),
        "{}",
        ran.stdout
    );
    let ran = plain(&["b.test.lua", "--maxfail", "2"]);
    assert!(ran.stdout.contains("; 0 passed, 2 failed"), "{}", ran.stdout);
}

#[test]
fn a_wrong_value_of_a_flag_is_named_with_its_line() {
    for (line, message) in [
        (
            "jobs = 'two'",
            "`jobs` in [provium]: invalid value 'two' for '--jobs <N>': not a whole number",
        ),
        (
            "jobs = true",
            "`jobs` in [provium]: --jobs takes a value, not true or false",
        ),
        (
            "fail_fast = 1",
            "`fail_fast` in [provium]: --fail-fast is on or off: true or false",
        ),
        (
            "jbos = 2",
            "unknown key `jbos` in [provium]; did you mean `jobs`?",
        ),
        ("preset = 'x'", "unknown key `preset` in [provium]; "),
    ] {
        let dir = project(&[
            ("provium.toml", &format!("[provium]\n{line}\n")),
            ("a.test.lua", FLAKY),
        ]);
        let ran = run(&dir, &[]);
        assert_eq!(ran.code, Some(2), "{line}: {}", ran.stdout);
        let expected = format!("provium: error: provium.toml:2: {message}");
        assert!(ran.stderr.starts_with(&expected), "{line}: {}", ran.stderr);
    }
}

#[test]
fn a_preset_stands_in_for_parts_of_the_file() {
    let toml = "[provium]\nroots = ['none']\nretries = 0\n[presets.ci]\nroots = ['tests']\nretries = 1\n[presets.slow]\njobs = 1\n";
    let dir = project(&[
        ("provium.toml", toml),
        ("tests/a.test.lua", FLAKY),
        ("none/b.test.lua", FLAKY),
    ]);
    assert_eq!(run(&dir, &[]).code, Some(1));
    for ran in [
        run(&dir, &["--preset", "ci"]),
        run_with(&dir, &[], ("PROVIUM_PRESET", "ci")),
    ] {
        assert!(
            ran.code == Some(0) && ran.stdout.contains("tests/a.test.lua"),
            "{}",
            ran.stdout
        );
    }
    assert_eq!(
        run(&dir, &["list", "--preset", "ci"]).stdout.lines().next(),
        Some("tests/a.test.lua")
    );
    // The flag goes before the variable.
    assert_eq!(
        run_with(&dir, &["--preset", "slow"], ("PROVIUM_PRESET", "ci")).code,
        Some(1)
    );
    for command in COMMANDS {
        let ran = run(&dir, &[command, &["--preset", "cy"]].concat());
        let message =
            "provium: error: --preset: there is no preset `cy` in provium.toml; did you mean `ci`?\n";
        assert_eq!((ran.code, ran.stderr.as_str()), (Some(2), message), "{command:?}");
    }
    let ran = run_with(&dir, &[], ("PROVIUM_PRESET", "cy"));
    assert!(
        ran.stderr
            .starts_with("provium: error: PROVIUM_PRESET: there is no preset"),
        "{}",
        ran.stderr
    );
    // A mistake in one that does not hold is one all the same.
    let dir = project(&[
        ("provium.toml", "[presets.ci]\nretires = 1\n"),
        ("a.test.lua", FLAKY),
    ]);
    let message =
        "provium: error: provium.toml:2: unknown key `retires` in [presets.ci]; did you mean `retries`?\n";
    assert_eq!(run(&dir, &[]).stderr, message);
}

#[test]
fn strings_of_the_file_take_the_environment_in() {
    let toml = "[provium]\nroots = [\"${PROVIUM_TEST_ROOT:-tests}\"]\n";
    let dir = project(&[
        ("provium.toml", toml),
        ("tests/a.test.lua", ""),
        ("more/b.test.lua", ""),
    ]);
    assert_eq!(
        run(&dir, &["list"]).stdout.lines().next(),
        Some("tests/a.test.lua")
    );
    let ran = run_with(&dir, &["list"], ("PROVIUM_TEST_ROOT", "more"));
    assert_eq!(ran.stdout.lines().next(), Some("more/b.test.lua"));
    let toml =
        "[profiles.p]\ncmdline = 'quiet'\nkernel = \"${PROVIUM_TEST_KERNEL}\"\nbuild = \"echo ${HERE}\"\n";
    let dir = project(&[("provium.toml", toml), ("a.test.lua", "")]);
    let ran = run(&dir, &["list"]);
    let message = "provium: error: provium.toml:3: `${PROVIUM_TEST_KERNEL}`: PROVIUM_TEST_KERNEL is not set in the \
                   environment; set it, or write `${PROVIUM_TEST_KERNEL:-default}`\n";
    assert_eq!((ran.code, ran.stderr.as_str()), (Some(2), message));
    assert_eq!(
        run_with(&dir, &["list"], ("PROVIUM_TEST_KERNEL", "k")).code,
        Some(0),
        "a shell expands `build`"
    );
}

#[test]
fn a_kernel_comes_from_the_command_line() {
    let toml = "[profiles.base]\nkernel = 'none'\ncmdline = 'quiet'\n[profiles.more]\ninherits = 'base'\n";
    let dir = project(&[
        ("provium.toml", toml),
        ("a.test.lua", FLAKY),
        ("sub/bzImage", ""),
        ("x.fixture.lua", ""),
    ]);
    let ran = run(&dir, &["--accel", "tcg"]);
    assert!(
        ran.code == Some(2) && ran.stderr.contains("none does not exist"),
        "{}",
        ran.stderr
    );
    // Those that inherit it have it too; whether the host can boot it is another question.
    let ran = run(&dir, &["--kernel", "base=sub/bzImage", "--accel", "kvm"]);
    assert!(!ran.stderr.contains("does not exist"), "{}", ran.stderr);
    for command in COMMANDS {
        for (value, message) in [
            (
                "bsae=sub/bzImage",
                "there is no profile `bsae` in provium.toml; did you mean `base`?",
            ),
            ("base=gone", "gone does not exist"),
        ] {
            let ran = run(&dir, &[command, &["--kernel", value]].concat());
            let message = format!("provium: error: --kernel: {message}\n");
            assert_eq!((ran.code, ran.stderr), (Some(2), message), "{command:?}");
        }
    }
    let ran = run(&dir, &["--kernel", "base"]);
    assert!(
        ran.code == Some(2) && ran.stderr.contains("expected PROFILE=FILE"),
        "{}",
        ran.stderr
    );
}
