//! The built command, run as a user runs it, wherever no guest is needed.

mod support;

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::process::Stdio;
use std::time::{Duration, Instant};

use provium::doctor::{self, Accel};
use provium_base::events::Event;
use provium_base::outcome::{FileResult, TestStatus, Timeliness};

use support::{Ran, finished, project, provium, run, write};

const PASSES: &str = "test('adds up', function(t) t:assert_eq(1 + 1, 2) end)\n\
                      test('later', function(t) t:skip('not now') end)\n";
const FAILS: &str = "test('is fine', function(t) t:log('hello') end)\n\
                     test('is not', function(t)\n  t:assert_eq(1, 2)\nend)\n";

#[test]
fn usage_errors_exit_with_2_and_help() {
    let dir = project(&[]);
    let ran = run(&dir, &["--fail-fsat"]);
    assert_eq!(ran.code, Some(2));
    assert!(
        ran.stderr.contains("a similar argument exists: '--fail-fast'"),
        "{}",
        ran.stderr
    );
    let ran = run(&dir, &["--timeout=soon"]);
    assert!(
        ran.code == Some(2) && ran.stderr.contains("`soon` is not a duration"),
        "{}",
        ran.stderr
    );
    let ran = run(&dir, &["--help"]);
    assert!(
        ran.code == Some(0) && ran.stdout.contains("Exit codes:"),
        "{}",
        ran.stdout
    );
}

#[test]
fn a_mistake_in_the_configuration_ends_the_run_before_it_begins() {
    let toml = "[profiles.minimal]\nkernal = 'k'\n";
    let dir = project(&[("provium.toml", toml), ("a.test.lua", "error('must not run')")]);
    let ran = run(&dir, &[]);
    let message = "provium: error: provium.toml:2: unknown key `kernal` in [profiles.minimal]; did you mean `kernel`?\n";
    assert_eq!(
        (ran.code, ran.stdout.as_str(), ran.stderr.as_str()),
        (Some(2), "", message)
    );
    let ran = run(&dir, &["--config", "other.toml"]);
    assert!(
        ran.code == Some(2) && ran.stderr.contains("other.toml: No such file"),
        "{}",
        ran.stderr
    );
}

#[test]
fn a_missing_kernel_is_found_before_anything_runs() {
    let toml = "[profiles.p]\nkernel = 'vmlinux'\ncmdline = 'quiet'\n";
    let dir = project(&[("provium.toml", toml), ("a.test.lua", PASSES)]);
    let ran = run(&dir, &[]);
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(2), ""));
    assert!(
        ran.stderr
            .starts_with("provium: error: provium.toml:2: `kernel` in [profiles.p]: /"),
        "{}",
        ran.stderr
    );
    assert_eq!(run(&dir, &["list"]).code, Some(0), "listing needs no kernel");
}

#[test]
fn no_tests_says_where_it_looked() {
    let dir = project(&[("sub/readme.txt", "")]);
    let ran = run(&dir, &["sub"]);
    assert_eq!(
        (ran.code, ran.stderr.as_str()),
        (Some(2), "provium: error: no test files (*.test.lua) in sub\n")
    );
    let ran = run(&dir, &["lst"]);
    let message = "provium: error: `lst` is neither a command nor a path; did you mean `provium list`?\n";
    assert_eq!((ran.code, ran.stderr.as_str()), (Some(2), message));
    let ran = run(&dir, &["fly"]);
    let message =
        "provium: error: `fly` is neither a command nor a path; `provium --help` lists the commands\n";
    assert_eq!((ran.code, ran.stderr.as_str()), (Some(2), message));
    let ran = run(&dir, &["run/it"]);
    let message = "provium: error: no such file or folder: run/it\n";
    assert_eq!((ran.code, ran.stderr.as_str()), (Some(2), message));
    let ran = run(&dir, &["--reruns", "3"]);
    assert_eq!(ran.code, Some(2));
    assert!(
        ran.stderr.contains("unexpected argument '--reruns' found"),
        "{}",
        ran.stderr
    );
    assert!(!ran.stderr.contains("-- --reruns"), "{}", ran.stderr);
}

#[test]
fn a_missing_root_names_its_line() {
    let dir = project(&[
        ("provium.toml", "[provium]\nroots = ['test']\n"),
        ("tests/a.test.lua", PASSES),
    ]);
    let message =
        "provium: error: provium.toml:2: `roots` in [provium]: test does not exist; did you mean `tests`?\n";
    for args in [&[][..], &["list"], &["list", "--fixtures"], &["fixture", "list"]] {
        let ran = run(&dir, args);
        assert_eq!((ran.code, ran.stderr.as_str()), (Some(2), message), "{args:?}");
    }
    assert_eq!(run(&dir, &["list", "tests"]).code, Some(0));
}

#[test]
fn passing_tests_exit_with_0() {
    let dir = project(&[("a.test.lua", PASSES)]);
    let ran = run(&dir, &[]);
    assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), ""), "{}", ran.stdout);
    let lines: Vec<_> = ran.stdout.lines().collect();
    assert_eq!(lines[0], "PASS a.test.lua (1 passed, 0 failed, 1 skipped)");
    assert!(lines[1].starts_with("1 file(s); 1 passed, 0 failed, 1 skipped; ") && lines[1].ends_with(" s"));
    assert!(lines.len() == 2 && !ran.stdout.contains('\u{1b}'));
}

#[test]
fn a_failed_test_and_a_broken_file_exit_with_1() {
    let dir = project(&[
        ("a.test.lua", PASSES),
        ("b.test.lua", FAILS),
        ("c.test.lua", "test('x'"),
    ]);
    let ran = run(&dir, &["-j1"]);
    assert_eq!(ran.code, Some(1));
    assert!(
        ran.stdout
            .contains("FAIL b.test.lua (1 passed, 1 failed, 0 skipped)\n  FAIL is not (b.test.lua:3) ")
    );
    assert!(
        ran.stdout
            .contains("FAIL c.test.lua (0 passed, 1 failed, 0 skipped)\n  c.test.lua:1: ")
    );
    assert!(
        ran.stdout.contains("3 file(s); 2 passed, 2 failed, 1 skipped; "),
        "{}",
        ran.stdout
    );

    let quiet = run(&dir, &["--quiet"]).stdout;
    assert!(
        !quiet.contains("PASS") && quiet.contains("FAIL b.test.lua") && quiet.contains("3 file(s)"),
        "{quiet}"
    );
    let verbose = run(&dir, &["--verbose", "b.test.lua"]).stdout;
    assert!(
        verbose.contains("  pass is fine ") && verbose.contains("    | hello\n"),
        "{verbose}"
    );
}

#[test]
fn json_lines_hold_everything_and_nothing_else_is_on_stdout() {
    let dir = project(&[("a.test.lua", PASSES), ("b.test.lua", FAILS)]);
    let ran = run(&dir, &["--json", "-j1", "--progress=plain"]);
    assert_eq!(ran.code, Some(1));
    let results: Vec<FileResult> = ran
        .stdout
        .lines()
        .map(|line| serde_json::from_str(line).expect("a JSON line"))
        .collect();
    let [a, b] = results.as_slice() else {
        panic!("{}", ran.stdout)
    };
    assert!(a.path == "a.test.lua" && a.passed && a.timeout == Timeliness::InTime && a.duration_ns > 0);
    let statuses: Vec<_> = a
        .tests
        .iter()
        .map(|test| (test.name.as_str(), test.status))
        .collect();
    assert_eq!(
        statuses,
        [("adds up", TestStatus::Passed), ("later", TestStatus::Skipped)]
    );
    assert_eq!(a.tests[1].message.as_deref(), Some("not now"));
    assert!(!b.passed && b.tests[0].log == ["hello"] && b.tests[1].line == Some(3));
    assert_eq!(ran.stderr, "");
}

#[test]
fn a_file_without_a_test_is_no_pass() {
    let files = [
        ("a.test.lua", "print('x is', 1)\n"),
        ("b.test.lua", PASSES),
        ("c.test.lua", "todo('write it')\n"),
        ("d.test.lua", "assert(1 == 1)\n"),
    ];
    let dir = project(&files);
    let ran = run(&dir, &["-j1"]);
    assert_eq!(ran.code, Some(1));
    let (first, rest) = ran.stdout.split_once("PASS b.test.lua").expect("the second file");
    assert_eq!(
        first,
        "NONE a.test.lua (0 passed, 1 failed, 0 skipped)\n  | x is\t1\n  it has no test: no `test(…)`, no assertion, no \
         `todo()`; --allow-empty lets it pass\n"
    );
    assert!(
        rest.contains("PASS c.test.lua (0 passed, 0 failed, 1 skipped)"),
        "{rest}"
    );
    assert!(
        rest.contains("PASS d.test.lua (1 passed, 0 failed, 0 skipped)"),
        "{rest}"
    );
    assert_eq!(run(&dir, &["--allow-empty"]).code, Some(0));
    let ran = run(&dir, &["a.test.lua"]);
    assert!(
        ran.code == Some(2) && ran.stderr.ends_with("no test ran: there is none in 1 file(s)\n"),
        "{}",
        ran.stderr
    );
    assert_eq!(run(&dir, &["a.test.lua", "--allow-empty"]).code, Some(0));
    // What a selection leaves out anyway is nobody's failure.
    assert_eq!(run(&dir, &["-k", "adds"]).code, Some(0));
    let ran = run(&dir, &["--json", "a.test.lua"]);
    let result: FileResult = serde_json::from_str(ran.stdout.trim()).expect("a result");
    assert!(result.no_tests && !result.passed, "{result:?}");
}

#[test]
fn known_failures_are_expected_and_what_is_mended_is_said() {
    let known = "# of the old kernel\n\
                 tests/a.test.lua::adds wrong  bug 7\n\
                 tests/a.test.lua::is mended  bug 8\n\
                 tests/a.test.lua::adds worng\n";
    let toml = "[provium]\nroots = ['tests']\nknown_failures = 'known.txt'\n";
    let source = "test('adds wrong', function(t)\n  t:assert_eq(1 + 1, 3)\nend)\n\
                  test('is mended', function(t) t:assert(true) end)\n";
    let dir = project(&[
        ("provium.toml", toml),
        ("known.txt", known),
        ("tests/a.test.lua", source),
        ("none.txt", ""),
    ]);
    let ran = run(&dir, &["-v"]);
    assert_eq!(ran.code, Some(1), "{}", ran.stdout);
    assert!(
        ran.stdout
            .contains("  XFAIL adds wrong: expected to fail (bug 7): values differ\n"),
        "{}",
        ran.stdout
    );
    assert!(
        ran.stdout
            .contains("    passed, and known.txt:3 expects it to fail (bug 8): take that mark away\n"),
        "{}",
        ran.stdout
    );
    let last = ran.stdout.lines().last().unwrap_or_default();
    assert!(
        last.starts_with("1 file(s); 0 passed, 0 failed, 0 skipped, 1 xfailed, 1 xpassed; "),
        "{last}"
    );
    assert_eq!(
        ran.stderr,
        "provium: warning: known.txt:4: tests/a.test.lua has no test `adds worng`; did you mean `adds wrong`?\n"
    );
    assert_eq!(run(&dir, &["-k", "wrong"]).code, Some(0));
    // The command line's list is in place of the configuration's, and a wrong one is found before the run.
    assert_eq!(run(&dir, &["--known-failures", "none.txt"]).code, Some(1));
    let ran = run(&dir, &["--known-failures", "provium.toml"]);
    assert!(
        ran.code == Some(2) && ran.stderr.contains("provium.toml:1: expected `path::test`"),
        "{}",
        ran.stderr
    );
}

#[test]
fn a_file_past_its_limit_is_reported_as_such() {
    let dir = project(&[(
        "slow.test.lua",
        "test('spins', function() while true do end end)\n",
    )]);
    let ran = run(&dir, &["--timeout=300ms"]);
    assert_eq!(ran.code, Some(1));
    assert!(
        ran.stdout
            .starts_with("TIME slow.test.lua (0 passed, 1 failed, 0 skipped)\n  FAIL spins "),
        "{}",
        ran.stdout
    );
    let ran = run(&dir, &["--timeout=300ms", "--json"]);
    let result: FileResult = serde_json::from_str(&ran.stdout).expect("a JSON line");
    assert_eq!((result.timeout, result.passed), (Timeliness::TimedOut, false));
}

#[test]
fn fail_fast_leaves_the_rest() {
    let dir = project(&[("a.test.lua", FAILS), ("b.test.lua", PASSES)]);
    let ran = run(&dir, &["--fail-fast", "-j1"]);
    assert_eq!(ran.code, Some(1));
    assert!(
        ran.stdout.contains(
            "stopped at the first failure: 1 file(s) not run to the end\n1 file(s); 1 passed, 1 failed"
        ),
        "{}",
        ran.stdout
    );
}

#[test]
fn github_actions_gets_annotations() {
    let dir = project(&[("b.test.lua", FAILS)]);
    let mut command = provium(dir.path(), &["--json"]);
    let ran = finished(
        command
            .env("GITHUB_ACTIONS", "true")
            .output()
            .expect("the command starts"),
    );
    let path = dir.path().join("b.test.lua").display().to_string();
    assert!(
        ran.stderr
            .starts_with(&format!("::error file={path},line=3::is not: ")),
        "{}",
        ran.stderr
    );
    assert_eq!(ran.stdout.lines().count(), 1);
}

#[test]
fn what_runs_is_shown_as_progress_says() {
    let noisy = "test('noisy', function() io.stderr:write('noise\\n') os.execute('sleep 0.5') end)\n";
    let dir = project(&[("a.test.lua", noisy)]);
    let ran = run(&dir, &["--progress=none"]);
    assert_eq!(ran.stderr, "noise\n");
    // A pipe has no size; the view is drawn all the same where it is asked for.
    let ran = run(&dir, &["--progress=bar"]);
    assert!(ran.stderr.contains("noise\n"), "{:?}", ran.stderr);
    assert!(ran.stderr.contains("a.test.lua  1/1  noisy"), "{:?}", ran.stderr);
    assert!(
        ran.stderr.contains("0 of 1 file(s); 0 passed"),
        "{:?}",
        ran.stderr
    );
    assert!(
        ran.stderr.ends_with("\r\x1b[J"),
        "nothing of it is left: {:?}",
        ran.stderr
    );
    let dir = project(&[(
        "a.test.lua",
        "test('slow', function() os.execute('sleep 11') end)\n",
    )]);
    let ran = run(&dir, &["--progress=plain"]);
    assert_eq!(ran.stderr, "provium: a.test.lua: `slow` runs for 10 s now\n");
}

#[test]
fn a_journal_spares_what_has_ended() {
    let once = "test('once', function(t) local f = io.open('ran', 'a'); f:write('x'); f:close() end)\n";
    let dir = project(&[("a.test.lua", once), ("b.test.lua", FAILS)]);
    let args = ["--journal", "journal", "-j1"];
    let first = run(&dir, &args);
    assert_eq!(first.code, Some(1));
    let second = run(&dir, &args);
    assert_eq!(second.code, Some(1));
    // Whoever keeps a journal reports elsewhere: what comes out is the run's events, in hexadecimal.
    let event = |line: &str| -> Event {
        let digits = (0..line.len()).step_by(2).map(|at| &line[at..at + 2]);
        let bytes: Result<Vec<u8>, _> = digits.map(|pair| u8::from_str_radix(pair, 16)).collect();
        rmp_serde::from_slice(&bytes.expect(line)).expect(line)
    };
    let events = |ran: &Ran| -> Vec<Event> {
        let lines = ran.stdout.lines().filter(|line| !line.is_empty());
        lines.map(event).collect()
    };
    let shown = |events: &[Event]| -> Vec<bool> {
        let ends = events.iter().filter_map(|event| match event {
            Event::FileEnded(end) => Some(end.shown_before),
            _ => None,
        });
        ends.collect()
    };
    assert_eq!(shown(&events(&first)), [false, false]);
    assert_eq!(shown(&events(&second)), [true, true]);
    let Some(Event::RunEnded(summary)) = events(&second).pop() else {
        panic!("the run has no end: {}", second.stdout);
    };
    assert_eq!((summary.passed, summary.failed), (2, 1));
    assert_eq!(fs::read_to_string(dir.path().join("ran")).expect("the mark"), "x");
}

/// Starts the command over a file that spins, sends it `signals` SIGINTs and waits for its end.
fn interrupted(body: &str, signals: usize) -> Ran {
    let dir = project(&[("busy.test.lua", body), ("z.test.lua", PASSES)]);
    let mut command = provium(dir.path(), &["-j1"]);
    let mut child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the command starts");
    let mut stderr = BufReader::new(child.stderr.take().expect("stderr"));
    let mark = dir.path().join("spinning");
    let started = Instant::now();
    while !mark.exists() {
        assert!(
            started.elapsed() < Duration::from_secs(60),
            "the test did not start"
        );
        std::thread::sleep(Duration::from_millis(5));
    }
    let pid = rustix::process::Pid::from_child(&child);
    let mut rest = String::new();
    for index in 0..signals {
        rustix::process::kill_process(pid, rustix::process::Signal::INT).expect("the process is there");
        if index == 0 {
            stderr.read_line(&mut rest).expect("a line");
        }
    }
    let mut stdout = String::new();
    child
        .stdout
        .take()
        .expect("stdout")
        .read_to_string(&mut stdout)
        .expect("UTF-8");
    stderr.read_to_string(&mut rest).expect("UTF-8");
    Ran {
        code: child.wait().expect("its end").code(),
        stdout,
        stderr: rest,
    }
}

#[test]
fn ctrl_c_ends_a_busy_test_and_reports_what_ran() {
    let body = "test('first', function() end)\n\
                test('spins', function() io.open('spinning', 'w'):close(); while true do pcall(error) end end)\n\
                test('never', function() end)\n";
    let ran = interrupted(body, 1);
    assert_eq!(ran.code, Some(130), "{}", ran.stdout);
    assert_eq!(
        ran.stderr,
        "provium: ending the running tests; Ctrl-C again to quit at once\n"
    );
    let lines: Vec<_> = ran.stdout.lines().collect();
    assert_eq!(
        lines[0],
        "STOP busy.test.lua (1 passed, 0 failed, 1 skipped, 1 not run)"
    );
    assert!(
        lines[1].starts_with("  skip spins: interrupted"),
        "{}",
        ran.stdout
    );
    assert_eq!(lines[2], "  not run: never");
    assert_eq!(lines[3], "interrupted: 2 file(s) not run to the end");
    assert!(
        lines[4].starts_with("1 file(s); 1 passed, 0 failed, 1 skipped, 1 not run; "),
        "{}",
        ran.stdout
    );
}

#[test]
fn a_second_ctrl_c_ends_at_once() {
    // One pattern match that takes hours and in which no Lua instruction is counted.
    let body = "test('stuck', function() io.open('spinning', 'w'):close()\n\
                  string.find(string.rep('a', 5000), string.rep('.-', 50) .. 'b') end)\n";
    let started = Instant::now();
    let ran = interrupted(body, 2);
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(130), ""));
    assert!(started.elapsed() < Duration::from_secs(20));
}

#[test]
fn with_profiles_the_host_must_be_able_to_run_guests() {
    let toml = "[profiles.p]\nkernel = 'provium.toml'\ncmdline = 'quiet'\n";
    let dir = project(&[("provium.toml", toml), ("a.test.lua", PASSES)]);
    let ran = run(&dir, &["--accel", "kvm"]);
    match doctor::choose(Accel::Kvm) {
        Ok(_) => assert_eq!(ran.code, Some(0), "{}", ran.stderr),
        // The reason has measurements in it, which differ from time to time.
        Err(_) => {
            assert_eq!((ran.code, ran.stdout.as_str()), (Some(2), ""));
            assert!(
                ran.stderr.starts_with("provium: error: --accel kvm: "),
                "{}",
                ran.stderr
            );
        }
    }
    let ran = run(&dir, &["--accel", "xen"]);
    assert!(
        ran.code == Some(2) && ran.stderr.contains("[possible values: auto, kvm, tcg]"),
        "{}",
        ran.stderr
    );
}

#[test]
fn colours_are_for_terminals_unless_the_flag_says_otherwise() {
    let dir = project(&[("b.test.lua", FAILS)]);
    for (args, coloured) in [
        (&[][..], false),
        (&["--color", "always"], true),
        (&["--color", "never"], false),
    ] {
        assert_eq!(run(&dir, args).stdout.contains('\u{1b}'), coloured, "{args:?}");
    }
}

#[test]
fn doctor_says_what_a_kernel_lacks_and_prints_it_as_a_fragment() {
    let dir = project(&[(".config", "CONFIG_NR_CPUS=4\n"), ("odd", "odd")]);
    let nothing = run(&dir, &["doctor", "--kernel", "."]);
    assert_eq!(nothing.code, Some(1), "{nothing:?}");
    assert!(
        nothing.stdout.contains("do not run on this kernel"),
        "{}",
        nothing.stdout
    );
    let fragment = run(&dir, &["doctor", "--kernel", ".config", "--merge"]);
    assert_eq!(fragment.code, Some(0), "{fragment:?}");
    write(&dir, ".config", &fragment.stdout);
    let whole = run(&dir, &["doctor", "--kernel", ".", "--json"]);
    assert_eq!(whole.code, Some(0), "{whole:?}");
    let facts: serde_json::Value = serde_json::from_str(&whole.stdout).expect("one object");
    assert_eq!(facts["usable"], true);
    assert_eq!(facts["configuration"], "./.config");
    // A module of which there is no file, and then one.
    write(
        &dir,
        ".config",
        &fragment.stdout.replace("VIRTIO_MMIO=y", "VIRTIO_MMIO=m"),
    );
    let module = run(&dir, &["doctor", "--kernel", ".config"]);
    assert_eq!(module.code, Some(1), "{module:?}");
    assert!(
        module
            .stdout
            .contains("CONFIG_VIRTIO_MMIO (a module, and there is no file of it)")
    );
    write(&dir, "modules/6.1/kernel/drivers/virtio/virtio_mmio.ko.xz", "");
    let found = run(
        &dir,
        &["doctor", "--kernel", ".config", "--modules", "modules/6.1"],
    );
    assert_eq!(found.code, Some(0), "{found:?}");
    assert!(
        found.stdout.contains("channel        ok  as modules"),
        "{}",
        found.stdout
    );
    for wrong in [&["doctor", "--kernel", "odd"][..], &["doctor", "--merge"]] {
        assert_eq!(run(&dir, wrong).code, Some(2), "{wrong:?}");
    }
}

#[test]
fn doctor_says_whether_tests_can_run_here() {
    let dir = project(&[]);
    let ran = run(&dir, &["doctor", "--json"]);
    let facts: serde_json::Value = serde_json::from_str(&ran.stdout).expect("JSON");
    let can = doctor::choose(Accel::Auto).is_ok();
    assert_eq!(ran.code, Some(if can { 0 } else { 2 }), "{facts}");
    let screen = run(&dir, &["doctor"]).stdout;
    assert!(screen.contains("KVM") && !screen.contains('\u{1b}'), "{screen}");
}
