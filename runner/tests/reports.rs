//! Reports for machines, by the built command, read by programs of others.
//!
//! Input: runs without a guest. Output: what `xmllint` and `prove` say of their reports. Not here: what
//! people read.

mod support;

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};

use support::{finished, project, provium, run};

/// Tests of every sort; what they say would speak to a terminal and to a CI's runner.
const EVERYTHING: &str = "local bad = '\\27[31m::error::x\\n::error file=a::b\\n##[error]c\\nnot ok 1 d\\n]]></failure>\\n</pre>```|\\r\\27[0Ksection_start:1:x\\r\\27[0K\\u{FFFF}'
test('passes # of all', {spec = 'A-1'}, function(t) t:log(bad) end)
test('fails', {spec = {'A-1', 'A-2'}}, function(t) t:log(bad) t:fail(bad) end)
test('skips', function(t) t:skip(bad) end)
test('known', {xfail = bad}, function(t) t:fail(bad) end)
test('mended', {xfail = true}, function() end)
local n = 0
test('flaky', {retries = 1}, function(t) n = n + 1; t:assert_eq(n, 2, bad) end)
test('parts', function(t)
  t:subtest('one', function() end)
  t:subtest('two ' .. bad, function(t) t:fail(bad) end)
  t:ktap('1..2\\n  1..2\\n  ok 1 a\\n  not ok 2 b # ' .. bad:match('[^\\n]*') .. '\\nnot ok 1 outer\\nok 2 c # SKIP none')
end)
";

/// The command of somebody else on a file, which has to like it.
#[track_caller]
fn approves(package: &str, command: &mut Command) -> String {
    let ran = match command.output() {
        Ok(output) => finished(output),
        Err(error) => panic!("{command:?}: {error}; is `{package}` installed?"),
    };
    assert_eq!(ran.code, Some(0), "{command:?}: {}{}", ran.stdout, ran.stderr);
    ran.stdout + &ran.stderr
}

/// Whether no line begins, and none holds, what steers a terminal or a CI's runner.
#[track_caller]
fn is_harmless(text: &str) {
    assert!(!text.contains('\u{1b}') && !text.contains('\r'), "{text:?}");
    for line in text.lines() {
        assert!(!line.trim_start().starts_with("::"), "{line:?}");
        assert!(!line.contains("##["), "{line:?}");
    }
}

#[test]
fn a_junit_file_is_what_ci_systems_read() {
    let dir = project(&[
        ("tests/all.test.lua", EVERYTHING),
        ("tests/broken.test.lua", "error('\\27[1m::error::no')"),
        ("tests/empty.test.lua", ""),
        (
            "tests/slow.test.lua",
            "test('hangs', function() while true do end end)\ntest('behind', print)\n",
        ),
    ]);
    let ran = run(&dir, &["--junit", "out/junit.xml", "--timeout", "1s", "-j1"]);
    assert_eq!(ran.code, Some(1), "{}{}", ran.stdout, ran.stderr);
    let path = dir.path().join("out/junit.xml");
    let schema = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/readers/junit.xsd");
    let lint = |args: &[&str]| {
        let mut command = Command::new("xmllint");
        command.args(args).arg(&path);
        approves("libxml2-utils", &mut command)
    };
    lint(&["--noout", "--schema", schema.to_str().expect("UTF-8")]);
    let asked = |xpath: &str| lint(&["--xpath", xpath]).trim().to_owned();
    assert_eq!(asked("string(/testsuites/@tests)"), "16");
    assert_eq!(asked("count(//testcase)"), "16");
    assert_eq!(asked("string(/testsuites/@failures)"), "6");
    assert_eq!(asked("string(/testsuites/@errors)"), "2");
    assert_eq!(asked("count(//skipped)"), "4");
    assert_eq!(asked("count(//flakyFailure)"), "1");
    let class = "//testcase[@classname='tests.all']";
    assert_eq!(asked(&format!("count({class})")), "12");
    assert_eq!(
        asked(&format!("count({class}[@name='parts / outer / b']/failure)")),
        "1"
    );
    assert_eq!(
        asked(&format!("string({class}[@name='parts / c']/skipped/@message)")),
        "none"
    );
    let text = fs::read_to_string(&path).expect("the report");
    is_harmless(&text);
    assert!(!text.contains('\u{ffff}'), "no character of XML");
}

#[test]
fn tap_is_what_others_parse() {
    let dir = project(&[("a.test.lua", EVERYTHING), ("b.test.lua", "error('::error::no')")]);
    let ran = run(&dir, &["--tap", "-j1"]);
    assert_eq!(ran.code, Some(1), "{}", ran.stderr);
    is_harmless(&ran.stdout);
    fs::write(dir.path().join("run.tap"), &ran.stdout).expect("write");
    let prove = |args: &[&str]| {
        let mut prove = Command::new("prove");
        finished(
            prove
                .current_dir(dir.path())
                .args(args)
                .output()
                .expect("prove, of Debian's perl"),
        )
    };
    let said = prove(&["--verbose", "--source", "RawTAP", "run.tap"]);
    // Points 2, 5, 7 and 8: fails, mended, parts, and the file that does not run. `known` fails as known.
    assert!(
        said.stdout.contains("Failed tests:  2, 5, 7-8"),
        "{}\n{}",
        ran.stdout,
        said.stdout
    );
    assert!(said.stdout.contains("Failed 4/8 subtests"), "{}", said.stdout);
    assert!(!said.stdout.contains("Parse errors"), "{}", said.stdout);
    let dir = project(&[(
        "a.test.lua",
        "test('x', function() end)\ntest('y', function(t) t:skip('no') end)\n",
    )]);
    let ran = run(&dir, &["--tap"]);
    assert_eq!(
        ran.stdout,
        "TAP version 13\nok 1 - a.test.lua > x\nok 2 - a.test.lua > y # SKIP no\n1..2\n"
    );
    fs::write(dir.path().join("run.tap"), &ran.stdout).expect("write");
    let mut prove = Command::new("prove");
    prove
        .current_dir(dir.path())
        .args(["--source", "RawTAP", "run.tap"]);
    assert!(approves("perl", &mut prove).contains("All tests successful"));
}

#[test]
fn ktap_is_read_by_the_reader_of_guests() {
    let dir = project(&[
        ("a.test.lua", EVERYTHING),
        ("b.test.lua", "test('x', function() end)"),
    ]);
    let ran = run(&dir, &["--ktap", "-j1"]);
    assert_eq!(ran.code, Some(1), "{}", ran.stderr);
    is_harmless(&ran.stdout);
    assert!(
        ran.stdout
            .starts_with("KTAP version 1\n1..2\n  KTAP version 1\n  1..7\n"),
        "{}",
        ran.stdout
    );
    fs::write(dir.path().join("run.ktap"), &ran.stdout).expect("write");
    let reads = "test('reads', function(t) t:ktap(io.open('run.ktap'):read('a')) end)";
    fs::write(dir.path().join("again.test.lua"), reads).expect("write");
    let again = run(&dir, &["--json", "again.test.lua"]);
    let result: serde_json::Value = serde_json::from_str(&again.stdout).expect("JSON");
    let message = result["tests"][0]["message"].as_str().expect("a message");
    // fails, mended, and of parts `two` and `outer / b`.
    assert!(
        message.starts_with("4 of 12 subtest(s) failed\n  a.test.lua / fails: "),
        "{message}"
    );
    assert!(
        message.contains("\n  a.test.lua / parts / outer / b: "),
        "{message}"
    );
}

#[test]
fn reports_are_whole_after_ctrl_c() {
    let waits = "test('done', function() end)\n\
                 test('waits', function() os.execute('echo $$ >pid; exec sleep 600') end)\ntest('never', print)\n";
    let dir = project(&[("a.test.lua", waits), ("b.test.lua", "test('other', print)")]);
    let mut command = provium(dir.path(), &["--tap", "--junit", "junit.xml", "-j1"]);
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let child = child.expect("the command starts");
    while fs::read_to_string(dir.path().join("pid")).map_or(true, |text| !text.ends_with('\n')) {
        std::thread::yield_now();
    }
    kill_process(Pid::from_child(&child), Signal::INT).expect("the command runs");
    let ran = finished(child.wait_with_output().expect("its end"));
    assert_eq!(ran.code, Some(130), "{}", ran.stderr);
    let lines: Vec<_> = ran.stdout.lines().collect();
    assert_eq!(
        lines,
        [
            "TAP version 13",
            "ok 1 - a.test.lua > done",
            "ok 2 - a.test.lua > waits # SKIP interrupted, waiting in os.execute",
            "ok 3 - a.test.lua > never # SKIP not run: its file ended before",
            "Bail out! interrupted, 2 file(s) not run to the end",
            "1..3"
        ]
    );
    let text = fs::read_to_string(dir.path().join("junit.xml")).expect("the report");
    assert!(
        text.contains("tests=\"3\"") && text.trim_end().ends_with("</testsuites>"),
        "{text}"
    );
}

#[test]
fn a_report_that_cannot_be_written_is_named() {
    let dir = project(&[
        (
            "a.test.lua",
            "test('x', function() os.execute('rm -r out; touch out') end)",
        ),
        ("file", ""),
    ]);
    let ran = run(&dir, &["--junit", "file/junit.xml"]);
    assert!(ran.code == Some(2) && ran.stdout.is_empty(), "{}", ran.stdout);
    assert!(ran.stderr.contains("file/junit.xml"), "{}", ran.stderr);
    let ran = run(&dir, &["--junit", "out/junit.xml"]);
    assert_eq!(ran.code, Some(2), "{}", ran.stdout);
    assert!(
        ran.stderr.contains("cannot write the report") && ran.stderr.contains("out/junit.xml"),
        "{}",
        ran.stderr
    );
}

#[test]
fn json_says_what_was_said_and_no_runner_finds_a_command_in_it() {
    let dir = project(&[("a.test.lua", EVERYTHING)]);
    let ran = run(&dir, &["--json"]);
    is_harmless(&ran.stdout);
    let result: serde_json::Value = serde_json::from_str(&ran.stdout).expect("JSON");
    let said = result["tests"][0]["log"][0].as_str().expect("a log");
    assert!(
        said.starts_with("\u{1b}[31m::error::x\n::error file=a::b\n##[error]c\n"),
        "{said:?}"
    );
    assert_eq!(result["tests"][6]["subtests"][0]["name"], "one");
    assert_eq!(
        result["tests"][1]["meta"]["spec"],
        serde_json::json!(["A-1", "A-2"])
    );
}

#[test]
fn a_job_of_github_gets_annotations_and_a_summary() {
    let dir = project(&[("a.test.lua", EVERYTHING)]);
    let summary = dir.path().join("summary.md");
    fs::write(&summary, "what was there\n").expect("write");
    let mut command = provium(dir.path(), &[]);
    command
        .env("GITHUB_ACTIONS", "true")
        .env("GITHUB_STEP_SUMMARY", &summary);
    let ran = finished(command.output().expect("the command starts"));
    assert_eq!(ran.code, Some(1));
    is_harmless(&ran.stdout);
    let commands: Vec<_> = ran.stderr.lines().filter(|line| line.starts_with("::")).collect();
    let sorts: Vec<_> = commands
        .iter()
        .map(|line| line.split(' ').next().unwrap_or_default())
        .collect();
    assert_eq!(
        sorts,
        ["::warning", "::error", "::error", "::error"],
        "{}",
        ran.stderr
    );
    for command in commands {
        let (_, message) = command[2..].split_once("::").expect("a message");
        assert!(
            !message.contains("%0A::") && !message.contains('\u{1b}'),
            "{command}"
        );
    }
    let page = fs::read_to_string(&summary).expect("the summary");
    assert!(
        page.starts_with("what was there\n### provium: failed\n\n1 file(s); 2 passed, 2 failed, "),
        "{page}"
    );
    assert_eq!(page.matches("<details>").count(), 3, "{page}");
    assert_eq!(
        page.matches("</pre>").count(),
        3,
        "a guest cannot end the block: {page}"
    );
    is_harmless(&page);
    // Elsewhere the file is nobody's.
    let mut command = provium(dir.path(), &[]);
    command.env("GITHUB_STEP_SUMMARY", dir.path().join("other.md"));
    command.output().expect("the command starts");
    assert!(!dir.path().join("other.md").exists());
}

#[test]
fn a_job_of_gitlab_gets_sections() {
    let dir = project(&[
        ("a.test.lua", EVERYTHING),
        ("b.test.lua", "test('x', function() end)"),
    ]);
    let mut command = provium(dir.path(), &["-j1"]);
    let ran = finished(
        command
            .env("GITLAB_CI", "true")
            .output()
            .expect("the command starts"),
    );
    let marks: Vec<_> = ran
        .stdout
        .split("\u{1b}[0K")
        .filter(|part| part.starts_with("section_"))
        .collect();
    assert_eq!(
        marks.len(),
        2,
        "one section, and what a test says makes none: {:?}",
        ran.stdout
    );
    let (start, end) = (marks[0], marks[1]);
    assert!(
        start.starts_with("section_start:") && start.ends_with(":provium_0\r"),
        "{start:?}"
    );
    assert!(
        end.starts_with("section_end:") && end.contains(":provium_0\r"),
        "{end:?}"
    );
    assert!(
        ran.stdout.contains("\r\u{1b}[0KFAIL a.test.lua ("),
        "{:?}",
        ran.stdout
    );
    assert!(
        ran.stdout.contains("\nPASS b.test.lua ("),
        "a block of one line is none: {:?}",
        ran.stdout
    );
    let outside = run(&dir, &["-j1"]);
    is_harmless(&outside.stdout);
}
